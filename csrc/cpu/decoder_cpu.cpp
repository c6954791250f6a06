#include "cpu/decoder_cpu.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "cpu/pack.h"

namespace khmer_fast {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

}  // namespace

void StepBuffers::reserve(const Decoder& d, int64_t rows, int64_t children, int64_t T) {
  Tp = padded(T);
  h.reserve(rows * d.Hp);
  hidden.reserve(rows * (d.Ap + 3 * d.Hp));
  Q.reserve(rows * d.Ap);
  weight.reserve(rows * Tp);
  position.resize(rows);
  context.reserve(rows * d.Ep);
  input.reserve(rows * (3 * d.Hp + d.Vp));
  h_new.reserve(children * d.Hp);
  logits.reserve(children * d.Vp);
  packed.reserve(Tp * d.dims.E);
  mean.reserve(d.dims.E);
  if (d.precision == Precision::kBfloat16)
    narrow.reserve(std::max({rows * d.Hp, rows * d.Ep, rows * Tp, children * d.Hp}) / 2);
}

Decoder::Decoder(const Dims& dims, const DecoderPointers& w, Precision precision,
                 const Kernels& kernels)
    : dims(dims), precision(precision), Hp(padded(dims.H)), Ap(padded(dims.A)), Ep(padded(dims.E)),
      Vp(padded(dims.V)), kernels(kernels), A_even_(round_up(dims.A, 2)) {
  const auto [V, D, E, A, H] = dims;
  const int64_t panel = kernels.panel;

  b_k_ = zeros(A_even_);
  if (w.W_k) {
    W_k_ = zeros(A_even_ * round_up(E, 2));
    if (narrow_lines())
      for (int64_t a = 0; a < A; ++a)
        std::transform(w.W_k + a * E, w.W_k + (a + 1) * E, W_k_.half() + a * round_up(E, 2),
                       to_bf16);
    else
      copy_block(w.W_k, A, E, E, W_k_.data(), E);
    std::copy_n(w.b_k, A, b_k_.data());
    W_init_ = Buffer(Hp * E);
    b_init_ = zeros(Hp);
    pack(w.W_init, H, E, E, panel, W_init_.data());
    std::copy_n(w.b_init, H, b_init_.data());
  }
  u_ = zeros(A_even_);
  for (int64_t a = 0; a < A; ++a) u_.data()[a] = -2.0f * w.v[a];

  const int64_t hidden = Ap + 3 * Hp;
  Buffer rows = zeros(hidden * H);
  copy_block(w.W_q, A, H, H, rows.data(), H);
  copy_gates(w.W_hh, H, H, H, rows.data() + Ap * H, H);
  W_hidden_ = pack_matrix(rows.data(), hidden, H, H);
  b_hidden_ = zeros(hidden);
  std::copy_n(w.b_hh + 2 * H, H, b_hidden_.data() + Ap + 2 * Hp);

  const int64_t input = 3 * Hp + Vp;
  rows = zeros(input * E);
  copy_gates(w.W_ih + D, H, E, D + E, rows.data(), E);
  copy_block(w.W_o + H, V, E, H + E, rows.data() + 3 * Hp * E, E);
  W_input_ = pack_matrix(rows.data(), input, E, E);
  b_input_ = zeros(input);
  std::copy_n(w.b_o, V, b_input_.data() + 3 * Hp);
  std::fill(b_input_.data() + 3 * Hp + V, b_input_.data() + input,
            -std::numeric_limits<float>::infinity());

  W_oh_ = pack_matrix(w.W_o, V, H, H + E);

  rows = zeros(3 * Hp * D);
  copy_gates(w.W_ih, H, D, D + E, rows.data(), D);
  Buffer W_ie(3 * Hp * D);
  pack(rows.data(), 3 * Hp, D, D, panel, W_ie.data());
  Buffer bias = zeros(3 * Hp);
  copy_gates(w.b_ih, H, 1, 1, bias.data(), 1);
  for (int64_t g = 0; g < 2; ++g)
    for (int64_t i = 0; i < H; ++i) bias.data()[g * Hp + i] += w.b_hh[g * H + i];
  table_ = Buffer(V * 3 * Hp);
  kernels.gemm(V, 3 * Hp, D, w.embedding, D, W_ie.data(), bias.data(), table_.data(), 3 * Hp);
}

Decoder::Matrix Decoder::pack_matrix(const float* W, int64_t N, int64_t K, int64_t ld) const {
  const int64_t size = padded(N) * round_up(K, 2);
  if (precision == Precision::kFloat32) {
    Matrix matrix{padded(N), K, Buffer(size)};
    pack(W, N, K, ld, kernels.panel, matrix.data.data());
    return matrix;
  }
  Matrix matrix{padded(N), kernels.bf16_pairs ? round_up(K, 2) : K, Buffer(size / 2)};
  pack_bf16(W, N, K, ld, kernels.panel, kernels.bf16_pairs, matrix.data.half());
  return matrix;
}

// C [rows, N] = A W^T + bias; rows of A are lda apart and padded with 0.
void Decoder::multiply(int64_t rows, const float* A, int64_t lda, const Matrix& W,
                       const float* bias, float* C, StepBuffers& b) const {
  if (precision == Precision::kFloat32)
    return kernels.gemm(rows, W.N, W.K, A, lda, W.data.data(), bias, C, W.N);
  const void* narrow = A;
  if (kernels.bf16_pairs) {
    kernels.to_bf16(A, b.narrow.half(), rows * lda);
    narrow = b.narrow.half();
  }
  kernels.gemm_bf16(rows, W.N, W.K, narrow, lda, W.data.half(), bias, C, W.N);
}

// The key in panels of positions, [A_even, panel] each; returns the largest |key|, NaN as NaN.
float Decoder::compute_key(const LineCache& line, StepBuffers& buffers, float* out) const {
  const int64_t panel = kernels.panel, E = dims.E, E_even = round_up(E, 2);
  const bool narrow = narrow_lines();
  if (!line.key && narrow)
    pack_bf16(line.memory, line.length, E, line.memory_ld, panel, true, buffers.packed.half());
  else if (!line.key)
    pack(line.memory, line.length, E, line.memory_ld, panel, buffers.packed.data());
  float largest = 0;
  for (int64_t t = 0; t < line.length; t += panel) {
    const int64_t w = std::min(panel, padded(line.length) - t);
    float* p = out + t * A_even_;
    if (line.key) {
      const int64_t valid = std::min(panel, line.length - t);
      pack(line.key + t * line.key_ld, valid, dims.A, line.key_ld, panel, p);
      std::fill(p + dims.A * w, p + A_even_ * w, 0.0f);
    } else if (narrow) {
      kernels.gemm_bf16(A_even_, w, E_even, W_k_.half(), E_even, buffers.packed.half() + t * E_even,
                        nullptr, p, w);
    } else {
      kernels.gemm(A_even_, w, E, W_k_.data(), E, buffers.packed.data() + t * E, nullptr, p, w);
    }
    const float here = kernels.add_key_bias(p, A_even_, w, line.length - t, b_k_.data());
    if (largest == largest && !(here <= largest)) largest = here;
  }
  return largest;
}

void Decoder::begin_line(LineCache& line, StepBuffers& buffers) const {
  const int64_t size = padded(line.length) * A_even_;
  line.raw_ready = false;
  line.factor.reserve(size);
  line.packed.reserve(Ep * line.length);
  if (narrow_lines())
    pack_transposed_bf16(line.memory, dims.E, line.length, line.memory_ld, kernels.panel, true,
                         line.packed.half());
  else
    pack_transposed(line.memory, dims.E, line.length, line.memory_ld, kernels.panel,
                    line.packed.data());
  line.max_p = compute_key(line, buffers, line.factor.data());
  kernels.exp_twice(line.factor.data(), line.factor.data(), size);
}

void Decoder::first_state(const LineCache& line, StepBuffers& buffers, float* h_0) const {
  std::vector<double> sum(dims.E);
  for (int64_t t = 0; t < line.length; ++t)
    for (int64_t e = 0; e < dims.E; ++e) sum[e] += line.memory[t * line.memory_ld + e];
  float* mean = buffers.mean.data();
  for (int64_t e = 0; e < dims.E; ++e)
    mean[e] = line.length ? static_cast<float>(sum[e] / line.length) : kNaN;
  kernels.gemm(1, Hp, dims.E, mean, dims.E, W_init_.data(), b_init_.data(), h_0, Hp);
  for (int64_t i = 0; i < Hp; ++i) h_0[i] = std::tanh(h_0[i]);
}

void Decoder::recurrent(int64_t rows, StepBuffers& b) const {
  multiply(rows, b.h.data(), Hp, W_hidden_, b_hidden_.data(), b.hidden.data(), b);
}

void Decoder::attend(LineCache& line, int64_t first, int64_t count, StepBuffers& b) const {
  const int64_t hidden = Ap + 3 * Hp, panel = kernels.panel, length = line.length;
  if (length == 0) {
    std::fill_n(b.context.data() + first * Ep, count * Ep, kNaN);
    return;
  }
  for (int64_t row = first; row < first + count; ++row) {
    const float* q = b.hidden.data() + row * hidden;
    float* Q = b.Q.data() + row * Ap;
    float* weight = b.weight.data() + row * b.Tp;
    const EnergyForm form = energy_form(line.max_p, kernels.exp_twice(q, Q, Ap));
    if (form == EnergyForm::kTanh && !line.raw_ready) {
      line.raw.reserve(padded(length) * A_even_);
      compute_key(line, b, line.raw.data());
      line.raw_ready = true;
    }
    const bool raw = form == EnergyForm::kTanh;
    for (int64_t t = 0; t < length; t += panel) {
      const int64_t w = std::min(panel, padded(length) - t);
      const float* P = (raw ? line.raw : line.factor).data() + t * A_even_;
      kernels.energy(form, A_even_, w, P, raw ? q : Q, u_.data(), weight + t);
    }
    b.position[row] = kernels.softmax(weight, length);
  }
  const float* weight = b.weight.data() + first * b.Tp;
  float* context = b.context.data() + first * Ep;
  if (!narrow_lines())
    return kernels.gemm(count, Ep, length, weight, b.Tp, line.packed.data(), nullptr, context, Ep);
  kernels.to_bf16(weight, b.narrow.half(), count * b.Tp);
  kernels.gemm_bf16(count, Ep, round_up(length, 2), b.narrow.half(), b.Tp, line.packed.half(),
                    nullptr, context, Ep);
}

void Decoder::contextual(int64_t rows, StepBuffers& b) const {
  multiply(rows, b.context.data(), Ep, W_input_, b_input_.data(), b.input.data(), b);
}

void Decoder::cell(int64_t child, int32_t token, int64_t parent, StepBuffers& b) const {
  kernels.gru(Hp, table_.data() + token * 3 * Hp, b.input.data() + parent * (3 * Hp + Vp),
              b.hidden.data() + parent * (Ap + 3 * Hp) + Ap, b.h.data() + parent * Hp,
              b.h_new.data() + child * Hp);
}

void Decoder::project(int64_t children, StepBuffers& b) const {
  multiply(children, b.h_new.data(), Hp, W_oh_, nullptr, b.logits.data(), b);
}

void Decoder::normalize(int64_t child, int64_t parent, StepBuffers& b) const {
  float* row = b.logits.data() + child * Vp;
  kernels.log_softmax(row, b.input.data() + parent * (3 * Hp + Vp) + 3 * Hp, row, Vp);
}

}  // namespace khmer_fast
