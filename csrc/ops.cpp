// Schemas of all operators; implementations register themselves, one file a device.
#include <torch/library.h>

TORCH_LIBRARY(khmer_fast, m) {
  // One decoder step of N hypotheses.
  m.def(
      "attn_gru_step(Tensor memory, Tensor key, Tensor length, Tensor token, Tensor h,"
      " Tensor embedding, Tensor W_q, Tensor v, Tensor W_ih, Tensor W_hh, Tensor b_ih, Tensor b_hh,"
      " Tensor W_o, Tensor b_o) -> (Tensor log_probs, Tensor h_new, Tensor weight)");
  // The decoder over a given target sequence; weight, gates and q are what its backward needs.
  m.def(
      "attn_gru_sequence(Tensor memory, Tensor key, Tensor length, Tensor h_0, Tensor gate_input,"
      " Tensor target_length, Tensor W_q, Tensor v, Tensor W_ic, Tensor W_hh, Tensor b_hh)"
      " -> (Tensor state, Tensor context, Tensor weight, Tensor gates, Tensor q)");
  m.def(
      "attn_gru_sequence_backward(Tensor? d_state, Tensor? d_context, Tensor? d_weight,"
      " Tensor memory, Tensor key, Tensor length, Tensor h_0, Tensor target_length, Tensor W_q,"
      " Tensor v, Tensor W_ic, Tensor W_hh, Tensor state, Tensor context, Tensor weight,"
      " Tensor gates, Tensor q)"
      " -> (Tensor d_memory, Tensor d_key, Tensor d_h_0, Tensor d_gate_input, Tensor d_W_q,"
      " Tensor d_v, Tensor d_W_ic, Tensor d_W_hh, Tensor d_b_hh)");
  // torch's linear of rows; MKL's takes half of the vectors that AMD's processors have.
  m.def("linear(Tensor x, Tensor W, Tensor? b) -> Tensor y");
  m.def("linear_backward(Tensor d_y, Tensor x, Tensor W) -> (Tensor d_x, Tensor d_W)");
  // Both directions of a GRU over lines; gates is what its backward needs.
  m.def(
      "gru_sequence(Tensor gate_input, Tensor length, Tensor W_hh, Tensor b_hh)"
      " -> (Tensor state, Tensor gates)");
  m.def(
      "gru_sequence_backward(Tensor d_state, Tensor length, Tensor W_hh, Tensor state, Tensor "
      "gates)"
      " -> (Tensor d_gate_input, Tensor d_W_hh, Tensor d_b_hh)");
}
