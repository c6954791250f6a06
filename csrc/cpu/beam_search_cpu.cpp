#include "cpu/beam_search_cpu.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <functional>
#include <limits>

#include "cpu/thread_pool.h"

namespace khmer_fast {
namespace {

constexpr float kEmpty = -std::numeric_limits<float>::infinity();
constexpr int64_t kReservedSurvivors = 16384;       // of a line's history; a longer one grows
constexpr int64_t kReservedDraft = 256;             // steps of a draft, likewise
constexpr int64_t kGroup = 16;                      // lines that a thread decodes together, at most
constexpr int64_t kGroupFloats = int64_t{1} << 23;  // and the size of their caches, about

// A draft below kDraftStart + kDraftSlope * steps nats would hardly bound anything: it is given up.
constexpr float kDraftStart = -6, kDraftSlope = -0.4f;

struct Slot {
  float score = kEmpty;  // kEmpty: no hypothesis
  int32_t token = kBos;
  int32_t length = 0;  // tokens so far
  bool finished = false;
  bool drafted = false;  // its tokens are the draft's, whose step is not computed again
  int32_t parent = 0;    // row of its state among the line's unique parents

  bool live() const { return score != kEmpty && !finished; }
};

// The greedy hypothesis of a line. What scores less than it did in the end cannot become the best
// answer, since scores only fall, nor can it push out what may: the beam goes without it.
struct Draft {
  float bound = kEmpty;           // its score; kEmpty: given up, pushed out, or none
  std::vector<int32_t> tokens;    // [steps]
  std::vector<int32_t> position;  // [steps]
  std::vector<float> state;       // [steps, Hp] h' of each step
  std::vector<float> log_prob;    // [steps, Vp]
};

struct Line {
  int64_t index = -1;  // -1: nothing to decode
  int64_t limit = 0;
  int64_t step = 0;
  bool drafting = false;
  Draft draft;
  int64_t beam = 1;                   // slots: 1 while drafting
  int64_t first_parent = 0;           // row of its first unique parent
  std::vector<const float*> parents;  // states [Hp] of the unique parents
  LineCache cache;
  std::vector<Slot> slots;        // [beam]
  std::vector<Survivor> history;  // [steps, beam]
  std::vector<float> attention;   // rows of [length]
  int64_t live_sum = 0, parent_sum = 0;
};

double rank(float score, int64_t length, double alpha) {
  return score / std::pow(static_cast<double>(length), alpha);
}

// The lines that one thread decodes in step, refilled from a queue as they end.
class Group {
 public:
  Group(const Decoder& decoder, const BeamOptions& options, const std::vector<LineInput>& inputs,
        const std::vector<int64_t>& order, std::atomic<size_t>& next,
        std::vector<LineOutput>& outputs, int64_t lines, int64_t T)
      : d_(decoder), options_(options), inputs_(inputs), order_(order), next_(next),
        outputs_(outputs), K_(options.beam),
        drafts_(K_ > 1 && options.n_best == 1 && options.alpha == 0 && !options.trace),
        lines_(lines), survivors_(K_), log_prob_(K_), state_(K_), unique_(K_), best_(K_) {
    buffers_.reserve(decoder, lines * K_, lines * K_, T);
  }

  void run() {
    while (place() > 0) step();
  }

 private:
  // Gives every line the rows of its unique parents; returns how many rows there are.
  int64_t place() {
    rows_ = 0;
    for (Line& line : lines_) {
      line.first_parent = rows_;
      if (line.index >= 0) {
        for (const float* state : line.parents)
          std::copy_n(state, d_.Hp, buffers_.h.data() + rows_++ * d_.Hp);
      } else if (admit(line)) {
        d_.begin_line(line.cache, buffers_);
        d_.first_state(line.cache, buffers_, buffers_.h.data() + rows_++ * d_.Hp);
        line.parents.assign(1, nullptr);
      }
    }
    return rows_;
  }

  // Takes the next line from the queue, if there is one.
  bool admit(Line& line) {
    const size_t position = next_++;
    if (position >= order_.size()) return false;
    const LineInput& input = inputs_[order_[position]];
    line.index = order_[position];
    line.limit = input.limit;
    line.live_sum = line.parent_sum = 0;
    line.cache.memory = input.memory;
    line.cache.memory_ld = input.ld;
    line.cache.length = input.length;
    line.attention.clear();
    line.drafting = drafts_;
    line.draft.bound = kEmpty;
    line.draft.tokens.clear();
    line.draft.position.clear();
    line.draft.state.clear();
    line.draft.log_prob.clear();
    if (drafts_) {
      const int64_t steps = std::min(line.limit, kReservedDraft);
      line.draft.state.reserve(steps * d_.Hp);
      line.draft.log_prob.reserve(steps * d_.Vp);
    }
    begin(line, drafts_ ? 1 : K_);
    return true;
  }

  void begin(Line& line, int64_t beam) {
    line.step = 0;
    line.beam = beam;
    line.slots.assign(beam, Slot{});
    line.slots[0].score = 0;
    line.history.clear();
    line.history.reserve(std::min(line.limit * beam, kReservedSurvivors));
  }

  void step() {
    d_.recurrent(rows_, buffers_);
    for (Line& line : lines_)
      if (line.index >= 0) d_.attend(line.cache, line.first_parent, line.parents.size(), buffers_);
    d_.contextual(rows_, buffers_);
    int64_t children = 0;
    for (const Line& line : lines_)
      if (line.index >= 0)
        for (const Slot& slot : line.slots)
          if (slot.live() && !slot.drafted)
            d_.cell(children++, slot.token, line.first_parent + slot.parent, buffers_);
    d_.project(children, buffers_);
    int64_t child = 0;
    for (Line& line : lines_)
      if (line.index >= 0) {
        child = select(line, child);
        settle(line);
      }
  }

  // Goes on with a line until it needs a row, or is through.
  void settle(Line& line) {
    while (line.index >= 0) {
      if (line.drafting && hopeless(line)) {
        end_draft(line, kEmpty);
      } else if (done(line)) {
        if (line.drafting)
          end_draft(line, line.slots[0].score);
        else if (line.draft.bound != kEmpty && line.slots[0].score == kEmpty)
          begin_beam(line, kEmpty);  // the draft itself was pushed out: without a bound
        else
          finish(line);
      } else if (line.parents.empty()) {
        select(line, 0);
      } else {
        return;
      }
    }
  }

  bool hopeless(const Line& line) const {
    return line.slots[0].score < kDraftStart + kDraftSlope * static_cast<float>(line.step);
  }

  void end_draft(Line& line, float bound) {
    for (const Survivor& survivor : line.history) {
      line.draft.tokens.push_back(survivor.token);
      line.draft.position.push_back(survivor.position);
    }
    line.drafting = false;
    begin_beam(line, bound);
  }

  // The beam from the first step, which is the draft's.
  void begin_beam(Line& line, float bound) {
    line.draft.bound = bound;
    begin(line, K_);
    line.slots[0].drafted = true;
    line.parents.clear();
  }

  // The best K candidates of a line whose children begin at row `child`; returns the row after.
  int64_t select(Line& line, int64_t child) {
    const int64_t K = line.beam, s = line.step++;
    line.parent_sum += line.parents.size();
    const int64_t attention_row = keep_attention(line);
    const bool last = options_.forced && line.step == line.limit;

    // 1. candidates: a live hypothesis with every token, a finished one as it is
    // 2. the best K in the total order: score, then parent, then token
    int64_t count = 0;
    for (int64_t k = 0; k < K; ++k) {
      const Slot& slot = line.slots[k];
      const int32_t parent = static_cast<int32_t>(k);
      if (slot.finished) {
        count = insert_candidate({slot.score, parent, kEos}, best_.data(), count, K);
      } else if (slot.live()) {
        float* log_prob;
        if (slot.drafted) {
          log_prob = line.draft.log_prob.data() + s * d_.Vp;
          state_[k] = line.draft.state.data() + s * d_.Hp;
        } else {
          d_.normalize(child, line.first_parent + slot.parent, buffers_);
          log_prob = buffers_.logits.data() + child * d_.Vp;
          state_[k] = buffers_.h_new.data() + child * d_.Hp;
          ++child;
          ++line.live_sum;
        }
        log_prob_[k] = log_prob;
        if (last) {
          count =
              insert_candidate({slot.score + log_prob[kEos], parent, kEos}, best_.data(), count, K);
          continue;
        }
        log_prob[kPad] = log_prob[kBos] = kEmpty;
        if (options_.forced) log_prob[kEos] = kEmpty;
        count = d_.kernels.top_k(log_prob, d_.Vp, slot.score, parent, best_.data(), count, K);
      }
    }
    while (count > 0 && best_[count - 1].score < line.draft.bound) --count;
    if (line.drafting) {
      line.draft.state.insert(line.draft.state.end(), state_[0], state_[0] + d_.Hp);
      line.draft.log_prob.insert(line.draft.log_prob.end(), log_prob_[0], log_prob_[0] + d_.Vp);
    }

    // 3. the survivors
    std::fill(unique_.begin(), unique_.end(), -1);
    line.parents.clear();
    survivors_.resize(K);
    for (int64_t k = 0; k < K; ++k) {
      Slot& next = survivors_[k];
      next = Slot{};
      if (k >= count) {
        line.history.push_back({-1, kPad, kEmpty, 0, 0, -1, false});
        continue;
      }
      const Candidate& chosen = best_[k];
      const Slot& source = line.slots[chosen.parent];
      Survivor survivor{chosen.parent, chosen.token, chosen.score, 0, 0, -1, source.finished};
      next.score = chosen.score;
      next.token = chosen.token;
      next.length = source.length + !source.finished;
      next.finished = source.finished || chosen.token == kEos;
      if (!source.finished) {
        survivor.log_prob = log_prob_[chosen.parent][chosen.token];
        survivor.position = source.drafted ? line.draft.position[s]
                                           : buffers_.position[line.first_parent + source.parent];
        survivor.attention =
            static_cast<int32_t>(source.drafted ? s : attention_row + source.parent);
      }
      if (!next.finished) {
        const auto& draft = line.draft.tokens;
        next.drafted = source.drafted && chosen.token == draft[s] &&
                       s + 1 < static_cast<int64_t>(draft.size());
        if (!next.drafted) {
          int32_t& unique = unique_[chosen.parent];
          if (unique < 0) {
            unique = static_cast<int32_t>(line.parents.size());
            line.parents.push_back(state_[chosen.parent]);
          }
          next.parent = unique;
        }
      }
      line.history.push_back(survivor);
    }
    line.slots.swap(survivors_);
    return child;
  }

  // Appends the attention of the step's parents to the history; returns the row of the first.
  int64_t keep_attention(Line& line) {
    const int64_t length = line.cache.length;
    if (!options_.attention || length == 0) return 0;
    const int64_t row = static_cast<int64_t>(line.attention.size()) / length;
    for (size_t u = 0; u < line.parents.size(); ++u) {
      const float* weight = buffers_.weight.data() + (line.first_parent + u) * buffers_.Tp;
      line.attention.insert(line.attention.end(), weight, weight + length);
    }
    return row;
  }

  bool done(const Line& line) const {
    float best_live = kEmpty;
    bool live = false;
    std::vector<double>& finished = ranks_;
    finished.clear();
    for (const Slot& slot : line.slots) {
      live = live || slot.live();
      if (slot.live()) best_live = std::max(best_live, slot.score);
      if (slot.finished) finished.push_back(rank(slot.score, slot.length, options_.alpha));
    }
    if (!live || line.step == line.limit) return true;
    if (options_.alpha == 0)
      return std::none_of(line.slots.begin(), line.slots.begin() + options_.n_best,
                          [](const Slot& slot) { return slot.live(); });
    const size_t n = static_cast<size_t>(options_.n_best);
    if (finished.size() < n) return false;
    std::nth_element(finished.begin(), finished.begin() + n - 1, finished.end(),
                     std::greater<double>());
    return rank(best_live, line.limit, options_.alpha) < finished[n - 1];
  }

  // Writes the answers of a line and frees its place.
  void finish(Line& line) {
    LineOutput& output = outputs_[line.index];
    output.steps = line.step;
    output.live = line.live_sum;
    output.parents = line.parent_sum;
    std::vector<int64_t> order;
    for (int64_t k = 0; k < line.beam; ++k)
      if (line.slots[k].score != kEmpty) order.push_back(k);
    const auto rank_of = [&](int64_t k) {
      return rank(line.slots[k].score, line.slots[k].length, options_.alpha);
    };
    std::stable_sort(order.begin(), order.end(),
                     [&](int64_t a, int64_t b) { return rank_of(a) > rank_of(b); });
    order.resize(std::min<size_t>(order.size(), options_.n_best));
    for (int64_t k : order) output.answers.push_back(answer(line, k));
    if (options_.trace) output.trace = line.history;
    line.index = -1;
  }

  Answer answer(const Line& line, int64_t k) const {
    const Slot& slot = line.slots[k];
    const int64_t T = line.cache.length;
    Answer out{slot.score, !slot.finished, {}, {}, {}, {}};
    out.tokens.resize(slot.length);
    out.log_prob.resize(slot.length);
    out.position.resize(slot.length);
    if (options_.attention) out.attention.resize(slot.length * T);
    int64_t at = slot.length;
    for (int64_t step = line.step - 1; step >= 0; --step) {
      const Survivor& survivor = line.history[step * line.beam + k];
      k = survivor.parent;
      if (survivor.frozen) continue;
      --at;
      out.tokens[at] = survivor.token;
      out.log_prob[at] = survivor.log_prob;
      out.position[at] = survivor.position;
      if (options_.attention)
        std::copy_n(line.attention.data() + survivor.attention * T, T,
                    out.attention.data() + at * T);
    }
    return out;
  }

  const Decoder& d_;
  const BeamOptions& options_;
  const std::vector<LineInput>& inputs_;
  const std::vector<int64_t>& order_;  // of the queue
  std::atomic<size_t>& next_;          // its head
  std::vector<LineOutput>& outputs_;
  const int64_t K_;
  const bool drafts_;  // whether only the best answer of plain scores is asked for
  std::vector<Line> lines_;
  StepBuffers buffers_;
  int64_t rows_ = 0;
  // Scratch of `select` and `done`
  std::vector<Slot> survivors_;      // [K]
  std::vector<float*> log_prob_;     // [K] of a live slot, [Vp]
  std::vector<const float*> state_;  // [K] h' of a live slot, [Hp]
  std::vector<int32_t> unique_;      // [K] number of a parent among the unique ones
  std::vector<Candidate> best_;      // [K]
  mutable std::vector<double> ranks_;
};

}  // namespace

std::vector<LineOutput> beam_search_cpu(const Decoder& decoder, const std::vector<LineInput>& lines,
                                        const BeamOptions& options) {
  std::vector<LineOutput> outputs(lines.size());
  // Longest first, so that threads end together; lines without a step have no answer.
  std::vector<int64_t> order;
  int64_t T = 0;
  for (size_t i = 0; i < lines.size(); ++i)
    if (lines[i].limit > 0) {
      order.push_back(static_cast<int64_t>(i));
      T = std::max(T, lines[i].length);
    }
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return lines[a].limit > lines[b].limit; });
  const int64_t count = static_cast<int64_t>(order.size());
  if (count == 0) return outputs;
  const int64_t threads = std::clamp<int64_t>(options.threads, 1, count);
  const int64_t cache = padded(T) * (decoder.Ap + decoder.Ep);
  const int64_t fitting =
      std::clamp<int64_t>(kGroupFloats / std::max<int64_t>(cache, 1), 1, kGroup);
  const int64_t group = std::min(fitting, (count + threads - 1) / threads);
  std::atomic<size_t> next{0};
  run_parallel(static_cast<int>(threads),
               [&] { Group(decoder, options, lines, order, next, outputs, group, T).run(); });
  return outputs;
}

}  // namespace khmer_fast
