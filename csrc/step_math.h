// Gate, energy and log-softmax arithmetic of docs/spec.md, section 2, for host vectors and device
// floats.
//
// F is float or a vector of floats with the usual operators. Whoever includes this file has
// defined, in the same namespace: KHMER_FAST_MATH (function attributes), splat<F>(float), fma(F, F,
// F), fast_exp(F), fast_tanh(F). The file includes nothing, since kernels of one instruction set
// must not pull inline functions into their translation unit. It is not called math.h, since -Icsrc
// would put it before the C library's.

// tanh(p + q) = 1 - 2 / (1 + PQ) with P = exp(2p), Q = exp(2q); the softmax drops the constant, so
// that the energy is the sum of u / (1 + PQ) with u = -2v. PQ may be infinite or 0: both are right.
template <class F>
KHMER_FAST_MATH F energy_factored(F sum, F P, F Q, F u) {
  return sum + u / fma(P, Q, splat<F>(1.0f));
}

// Two terms with one division.
template <class F>
KHMER_FAST_MATH F energy_paired(F sum, F P0, F Q0, F u0, F P1, F Q1, F u1) {
  const F d0 = fma(P0, Q0, splat<F>(1.0f));
  const F d1 = fma(P1, Q1, splat<F>(1.0f));
  return sum + fma(u0, d1, u1 * d0) / (d0 * d1);
}

// The general form, in the same scale: -2v tanh(p + q) / -2.
template <class F>
KHMER_FAST_MATH F energy_tanh(F sum, F p, F q, F u) {
  return fma(u * -0.5f, fast_tanh(p + q), sum);
}

template <class F>
KHMER_FAST_MATH F sigmoid(F x) {
  return 1.0f / (1.0f + fast_exp(-x));
}

// One element of torch's GRU cell. r, z: sums of both products and all biases; n_input: input part
// with b_in; n_hidden: recurrent part with b_hn.
template <class F>
KHMER_FAST_MATH F gru_cell(F r, F z, F n_input, F n_hidden, F h) {
  const F n = fast_tanh(fma(sigmoid(r), n_hidden, n_input));
  return fma(sigmoid(z), h - n, n);
}
