// Runs the sequence operators' kernels without torch, for the sanitizers (scripts/sanitize.sh):
// random small sizes on every instruction set, float and double, forward and backward, groups of
// lines on several threads. Arrays are as large as they must be and not an element larger, and hold
// NaN where nothing may be read. A line must come out bit for bit the same whatever its group.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "cpu/kernels.h"
#include "cpu/pack.h"
#include "cpu/sequence_kernels.h"
#include "dims.h"

using namespace khmer_fast;

namespace {

using Groups = std::vector<std::vector<int64_t>>;

void check(bool ok, const char* what, const char* kernels, unsigned seed) {
  if (ok) return;
  std::printf("FAILED: %s, %s, seed %u\n", what, kernels, seed);
  std::exit(1);
}

template <class T>
constexpr T kNaN = std::numeric_limits<T>::quiet_NaN();

// Random numbers, and where they live.
template <class T>
class Arrays {
 public:
  explicit Arrays(unsigned seed) : rng_(seed) {}

  int64_t size(int low, int high) {
    return std::uniform_int_distribution<int64_t>(low, high)(rng_);
  }
  std::vector<T> random(int64_t n, T scale) {
    std::normal_distribution<T> normal(0, scale);
    std::vector<T> x(n);
    for (T& value : x) value = normal(rng_);
    return x;
  }
  // rows [B, steps, columns] that are NaN at steps a line has not
  std::vector<T> lines(const std::vector<int64_t>& steps, int64_t most, int64_t columns, T scale) {
    std::vector<T> x = random(static_cast<int64_t>(steps.size()) * most * columns, scale);
    for (size_t b = 0; b < steps.size(); ++b)
      std::fill(x.begin() + (b * most + steps[b]) * columns, x.begin() + (b + 1) * most * columns,
                kNaN<T>);
    return x;
  }
  std::vector<int64_t> steps(int64_t B, int64_t low, int64_t most) {
    std::vector<int64_t> x(B);
    for (int64_t& n : x) n = size(static_cast<int>(low), static_cast<int>(most));
    return x;
  }

 private:
  std::mt19937 rng_;
};

template <class T>
std::vector<T> nothing(int64_t n) {
  return std::vector<T>(n, kNaN<T>);
}

// All lines dealt to `groups` groups, each sorted by steps, most first.
Groups deal(const std::vector<int64_t>& steps, size_t groups) {
  std::vector<int64_t> order(steps.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return steps[a] > steps[b]; });
  Groups lines(groups);
  for (size_t i = 0; i < order.size(); ++i) lines[i % groups].push_back(order[i]);
  return lines;
}

std::vector<int64_t> offsets(const std::vector<int64_t>& steps) {
  std::vector<int64_t> offset(steps.size());
  std::exclusive_scan(steps.begin(), steps.end(), offset.begin(), int64_t{0});
  return offset;
}

// Runs run(pass, lines, count, workspace) for every group and pass, each on a thread of its own.
template <class T, class Space, class Run>
void on_threads(const Groups& groups, int64_t passes, const Space& space_of, const Run& run) {
  std::vector<std::thread> threads;
  for (int64_t pass = 0; pass < passes; ++pass)
    for (const std::vector<int64_t>& lines : groups)
      threads.emplace_back([&, pass] {
        const int64_t count = static_cast<int64_t>(lines.size());
        std::vector<T> space = nothing<T>(space_of(count));
        run(pass, lines.data(), count, space.data());
      });
  for (std::thread& thread : threads) thread.join();
}

template <class T>
std::vector<T> packed(const std::vector<T>& W, int64_t N, int64_t K, int64_t panel) {
  std::vector<T> out = nothing<T>(padded(N) * K);
  pack(W.data(), N, K, K, panel, out.data());
  return out;
}

template <class T>
std::vector<T> packed_transpose(const std::vector<T>& X, int64_t K, int64_t N, int64_t panel) {
  std::vector<T> out = nothing<T>(padded(N) * K);
  pack_transposed(X.data(), N, K, N, panel, out.data());
  return out;
}

// What a call returns; what may stay NaN (padding of rows) is not among it.
template <class T>
using Results = std::vector<std::vector<T>>;

template <class T>
void compare(const Results<T>& one, const Results<T>& other, bool finite, const char* what,
             const char* kernels, unsigned seed) {
  for (size_t i = 0; i < one.size(); ++i) {
    const size_t bytes = one[i].size() * sizeof(T);
    check(one[i].size() == other[i].size() &&
              (bytes == 0 || std::memcmp(one[i].data(), other[i].data(), bytes) == 0),
          what, kernels, seed);
    for (T value : one[i]) check(!finite || std::isfinite(value), "not finite", kernels, seed);
  }
}

template <class T>
void attention(const SequenceKernels<T>& kernels, const char* name, unsigned seed) {
  Arrays<T> make(seed);
  const CpuSequenceDims d{make.size(1, 12), make.size(0, 9),  make.size(1, 40),
                          make.size(1, 40), make.size(1, 40), make.size(1, 40)};
  const std::vector<int64_t> length = make.steps(d.B, 1, d.T), target = make.steps(d.B, 0, d.S);
  // Now and then so large that the energy leaves the paired and the factored form.
  const T scale = make.size(0, 2) == 0 ? T(30) : T(0.7);
  const auto memory = make.lines(length, d.T, d.E, 1), key = make.lines(length, d.T, d.A, scale);
  const auto h_0 = make.random(d.B * d.H, T(0.5)), v = make.random(d.A, T(0.5));
  const auto gate_input = make.lines(target, d.S, 3 * d.H, 1);
  const auto W_q = make.random(d.A * d.H, T(0.5)), W_hh = make.random(3 * d.H * d.H, T(0.5));
  const auto W_ic = make.random(3 * d.H * d.E, T(0.5)), b_hh = make.random(3 * d.H, T(0.5));
  std::vector<T> W_state = W_q, W_back = W_q;  // [q; r, z, n], [q; n, r, z]
  W_state.insert(W_state.end(), W_hh.begin(), W_hh.end());
  W_back.insert(W_back.end(), W_hh.end() - d.H * d.H, W_hh.end());
  W_back.insert(W_back.end(), W_hh.begin(), W_hh.end() - d.H * d.H);
  const int64_t columns = d.A + 3 * d.H,
                rows = std::accumulate(target.begin(), target.end(), int64_t{0});
  const auto W_state_p = packed(W_state, columns, d.H, kernels.panel);
  const auto W_ic_p = packed(W_ic, 3 * d.H, d.E, kernels.panel);
  const auto W_back_p = packed_transpose(W_back, columns, d.H, kernels.panel);
  const auto W_ic_back_p = packed_transpose(W_ic, 3 * d.H, d.E, kernels.panel);
  const auto offset = offsets(target);
  const auto d_state = make.lines(target, d.S, d.H, 1), d_context = make.lines(target, d.S, d.E, 1);
  const auto d_weight = make.lines(target, d.S, d.T, 1);
  const bool with_state = make.size(0, 3), with_context = make.size(0, 3),
             with_weight = make.size(0, 1);

  const auto run = [&](const Groups& groups) {
    auto state = nothing<T>(d.B * d.S * d.H), context = nothing<T>(d.B * d.S * d.E);
    auto weight = nothing<T>(d.B * d.S * d.T), gates = nothing<T>(d.B * d.S * 4 * d.H);
    auto q = nothing<T>(d.B * d.S * d.A);
    const SequenceForward<T> forward{d,
                                     memory.data(),
                                     key.data(),
                                     length.data(),
                                     h_0.data(),
                                     gate_input.data(),
                                     target.data(),
                                     W_state_p.data(),
                                     W_ic_p.data(),
                                     v.data(),
                                     b_hh.data(),
                                     state.data(),
                                     context.data(),
                                     weight.data(),
                                     gates.data(),
                                     q.data()};
    const auto space_of = [&](int64_t count) { return kernels.sequence_workspace(d, count); };
    on_threads<T>(groups, 1, space_of, [&](int64_t, const int64_t* line, int64_t count, T* space) {
      kernels.sequence_forward(forward, line, count, space);
    });
    auto d_memory = nothing<T>(d.B * d.T * d.E), d_key = nothing<T>(d.B * d.T * d.A);
    auto d_h_0 = nothing<T>(d.B * d.H), d_gate_input = nothing<T>(d.B * d.S * 3 * d.H);
    auto d_v = nothing<T>(d.B * d.A), d_product = nothing<T>(rows * (d.A + 4 * d.H));
    auto h_row = nothing<T>(rows * d.H), context_row = nothing<T>(rows * d.E);
    auto d_context_row = nothing<T>(rows * padded(d.E)),
         d_energy_row = nothing<T>(rows * padded(d.T));
    const SequenceBackward<T> backward{d,
                                       memory.data(),
                                       key.data(),
                                       length.data(),
                                       h_0.data(),
                                       target.data(),
                                       offset.data(),
                                       W_back_p.data(),
                                       W_ic_back_p.data(),
                                       v.data(),
                                       state.data(),
                                       context.data(),
                                       weight.data(),
                                       gates.data(),
                                       q.data(),
                                       with_state ? d_state.data() : nullptr,
                                       with_context ? d_context.data() : nullptr,
                                       with_weight ? d_weight.data() : nullptr,
                                       d_memory.data(),
                                       d_key.data(),
                                       d_h_0.data(),
                                       d_gate_input.data(),
                                       d_v.data(),
                                       d_product.data(),
                                       h_row.data(),
                                       context_row.data(),
                                       d_context_row.data(),
                                       d_energy_row.data()};
    on_threads<T>(groups, 1, space_of, [&](int64_t, const int64_t* line, int64_t count, T* space) {
      kernels.sequence_backward(backward, line, count, space);
    });
    return Results<T>{state, context,      weight, gates,     q,     d_memory,   d_key,
                      d_h_0, d_gate_input, d_v,    d_product, h_row, context_row};
  };
  const Results<T> together = run(deal(target, 1));
  compare(together, run(deal(target, 2)), true, "attn_gru_sequence depends on groups", name, seed);
  compare(together, run(deal(target, target.size())), true, "attn_gru_sequence depends on groups",
          name, seed);
}

template <class T>
void recurrent(const SequenceKernels<T>& kernels, const char* name, unsigned seed) {
  Arrays<T> make(seed);
  const CpuGruDims d{make.size(1, 12), make.size(1, 12), make.size(1, 40)};
  const std::vector<int64_t> length = make.steps(d.B, 0, d.T);
  const auto gate_input = make.lines(length, d.T, 6 * d.H, 1);
  const auto b_hh = make.random(6 * d.H, T(0.5)), d_state = make.lines(length, d.T, 2 * d.H, 1);
  std::vector<T> W[2], W_back[2];
  for (int direction = 0; direction < 2; ++direction) {
    const auto W_hh = make.random(3 * d.H * d.H, T(0.5));
    W[direction] = packed(W_hh, 3 * d.H, d.H, kernels.panel);
    W_back[direction] = packed_transpose(W_hh, 3 * d.H, d.H, kernels.panel);
  }
  const auto offset = offsets(length);
  const int64_t rows = std::accumulate(length.begin(), length.end(), int64_t{0});

  const auto run = [&](const Groups& groups) {
    auto state = nothing<T>(d.B * d.T * 2 * d.H), gates = nothing<T>(d.B * d.T * 8 * d.H);
    const GruForward<T> forward{
        d,           gate_input.data(), length.data(), {W[0].data(), W[1].data()},
        b_hh.data(), state.data(),      gates.data()};
    const auto space_of = [&](int64_t count) { return kernels.gru_workspace(d, count); };
    on_threads<T>(groups, 2, space_of,
                  [&](int64_t direction, const int64_t* line, int64_t count, T* space) {
                    kernels.gru_forward(forward, direction, line, count, space);
                  });
    auto d_gate_input = nothing<T>(d.B * d.T * 6 * d.H), d_hidden = nothing<T>(2 * rows * 3 * d.H);
    auto h_row = nothing<T>(2 * rows * d.H);
    const GruBackward<T> backward{d,
                                  length.data(),
                                  offset.data(),
                                  {W_back[0].data(), W_back[1].data()},
                                  state.data(),
                                  gates.data(),
                                  d_state.data(),
                                  d_gate_input.data(),
                                  d_hidden.data(),
                                  h_row.data(),
                                  rows};
    on_threads<T>(groups, 2, space_of,
                  [&](int64_t direction, const int64_t* line, int64_t count, T* space) {
                    kernels.gru_backward(backward, direction, line, count, space);
                  });
    return Results<T>{state, gates, d_gate_input, d_hidden, h_row};
  };
  const Results<T> together = run(deal(length, 1));
  compare(together, run(deal(length, 2)), true, "gru_sequence depends on groups", name, seed);
  compare(together, run(deal(length, length.size())), true, "gru_sequence depends on groups", name,
          seed);
}

// linear and weight_gradient over more rows than go together, against sums in double.
template <class T>
void products(const SequenceKernels<T>& kernels, const char* name, unsigned seed) {
  Arrays<T> make(seed);
  const int64_t R = make.size(0, 3) == 0 ? make.size(500, 600) : make.size(0, 70);
  const int64_t M = make.size(1, 60), N = make.size(1, 60), lda = M + make.size(0, 9);
  const auto A = make.random(R * lda, 1), X = make.random(R * N, 1), bias = make.random(M, 1);
  const auto W = make.random(M * N, 1);
  const bool with_bias = make.size(0, 1);
  const auto X_p = packed_transpose(X, R, N, kernels.panel), W_p = packed(W, M, N, kernels.panel);
  auto gradient = nothing<T>(M * N), y = nothing<T>(R * M), part = nothing<T>(R * M);
  kernels.weight_gradient(M, N, R, A.data(), lda, X_p.data(), gradient.data());
  const T* b = with_bias ? bias.data() : nullptr;
  kernels.linear(R, M, N, X.data(), W_p.data(), b, y.data());
  const int64_t half = R / 2;
  kernels.linear(half, M, N, X.data(), W_p.data(), b, part.data());
  kernels.linear(R - half, M, N, X.data() + half * N, W_p.data(), b, part.data() + half * M);
  compare<T>({y}, {part}, true, "linear depends on other rows", name, seed);
  const auto near = [&](T found, double expected, const char* what) {
    check(std::abs(found - expected) < 1e-3, what, name, seed);
  };
  for (int64_t m = 0; m < M; ++m)
    for (int64_t n = 0; n < N; ++n) {
      double sum = 0;
      for (int64_t r = 0; r < R; ++r) sum += double(A[r * lda + m]) * X[r * N + n];
      near(gradient[m * N + n], sum, "weight_gradient");
    }
  for (int64_t r = 0; r < R; ++r)
    for (int64_t m = 0; m < M; ++m) {
      double sum = with_bias ? bias[m] : 0;
      for (int64_t n = 0; n < N; ++n) sum += double(X[r * N + n]) * W[m * N + n];
      near(y[r * M + m], sum, "linear");
    }
}

}  // namespace

int main(int argc, char** argv) {
  const unsigned models = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 100;
  for (const char* isa : {"baseline", "avx2", "avx512"}) {
    setenv("KHMER_FAST_ISA", isa, 1);
    if (std::strcmp(select_kernels().name, isa) != 0) continue;
    for (unsigned seed = 0; seed < models; ++seed) {
      attention(select_sequence_kernels<float>(), isa, seed);
      recurrent(select_sequence_kernels<float>(), isa, seed);
      products(select_sequence_kernels<float>(), isa, seed);
    }
    std::printf("%s: %u sequences\n", isa, models);
  }
  for (unsigned seed = 0; seed < models; ++seed) {
    attention(select_sequence_kernels<double>(), "double", seed);
    recurrent(select_sequence_kernels<double>(), "double", seed);
    products(select_sequence_kernels<double>(), "double", seed);
  }
  std::printf("double: %u sequences\n", models);
}
