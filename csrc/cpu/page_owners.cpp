#include "cpu/page_owners.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "cpu/page_lines.h"

namespace khmer_fast {
namespace {

constexpr double kSureCore = 0.25;   // letter heights squared of ink in a band
constexpr double kSlack = 0.5;       // letter heights beyond a line's distances
constexpr double kMarkSlack = 0.75;  // the same for marks, which stand over or under a band
constexpr double kBeside = 0.8;      // letter heights beside a line's end
constexpr double kEndBeside = 1.3;   // the same for signs before and after it,
constexpr double kEndUp = 0.6, kEndDown = 1.1;  // so far above and below its middle,
constexpr double kEndWide = 1.0;                // so wide,
constexpr double kFigure = 6.0;                 // and before a line only if it is no longer
constexpr double kOffsetWeight = 0.5;
constexpr double kMarkReach = 0.5;              // letter heights to both sides of a mark
constexpr double kWideMark = 4.0, kThin = 0.5;  // letter heights
constexpr double kLong = 2.0;                   // times a line's length
constexpr double kVoted = 0.15;                 // letter heights squared
constexpr double kSpeck = 0.012;                // letter heights squared
constexpr size_t kMostShared = 200;             // lines

struct Core {
  int32_t line, pixels;
};

// Ink of each piece in each line's band, lines ascending: [C]. Counts the columns with ink of each
// line, up to each: line.lettered.
std::vector<std::vector<Core>> count_cores(const Pieces& pieces, std::vector<Line>& lines) {
  std::vector<std::vector<Core>> cores(pieces.piece.size() - 1);
  for (size_t l = 0; l < lines.size(); ++l) {
    Line& line = lines[l];
    line.lettered.assign(line.end - line.first + 1, 0);
    for (int64_t y = line.top; y < line.bottom; ++y) {
      const auto begin = pieces.by_row.begin() + pieces.row[y];
      const auto end = pieces.by_row.begin() + pieces.row[y + 1];
      auto run = std::partition_point(begin, end, [&](Run r) { return r.end <= line.from_x; });
      for (; run != end && run->begin < line.to_x; ++run) {
        int32_t pixels = 0;
        for (int64_t x = std::max<int64_t>(run->begin, line.from_x);
             x < std::min<int64_t>(run->end, line.to_x); ++x) {
          const bool inside = line.in_band(y, x);
          pixels += inside;
          line.lettered[x - line.first + 1] |= inside;
        }
        if (!pixels) continue;
        std::vector<Core>& found = cores[run->piece];
        if (found.empty() || found.back().line != static_cast<int32_t>(l))
          found.push_back({static_cast<int32_t>(l), 0});
        found.back().pixels += pixels;
      }
    }
    std::partial_sum(line.lettered.begin(), line.lettered.end(), line.lettered.begin());
  }
  return cores;
}

// Whether a piece beside a line is a sign before or after it: a comma, the minus of a figure. What
// stands before a longer line is a list's mark.
bool is_end_mark(const Component& box, const Line& line, double up, double down) {
  const double letter = line.letter;
  const bool level = up >= -kEndUp * letter && down <= kEndDown * letter;
  const bool after = box.left >= line.to_x;
  const bool before = box.right <= line.from_x;
  const bool figure = static_cast<double>(line.to_x - line.from_x) <= kFigure * letter;
  return level && static_cast<double>(box.right - box.left) <= kEndWide * letter &&
         (after || (before && figure));
}

// The line whose band is nearest to a piece that touches none, or -1 if none is near. What stands
// over or under a band is a mark of letters that stand there, too.
int64_t nearest_line(const Component& box, double opinion, const std::vector<Line>& lines) {
  int64_t best = -1;
  double cheapest = std::numeric_limits<double>::infinity();
  for (size_t l = 0; l < lines.size(); ++l) {
    const Line& line = lines[l];
    const double letter = line.letter;
    const double beside =
        static_cast<double>(std::max<int64_t>({line.from_x - box.right, box.left - line.to_x, 0}));
    if (beside > kEndBeside * letter || box.area < kSpeck * letter * letter) continue;
    const int64_t at = line.at((box.left + box.right) / 2);
    const double middle = line.middle[at], above = line.above[at], below = line.below[at];
    const double up = box.top - middle, down = box.bottom - middle;
    const bool end_mark = is_end_mark(box, line, up, down);
    if (beside > kBeside * letter && !end_mark) continue;
    const double gap = std::max({up - letter / 2, -letter / 2 - down, 0.0});
    const double overshoot = std::max(-above - up, 0.0) + std::max(down - below, 0.0);
    if (overshoot > kMarkSlack * letter) continue;
    if (gap > 0 && box.right - box.left > kWideMark * letter) continue;
    const int64_t reach = static_cast<int64_t>(kMarkReach * letter);
    const int64_t from = line.at(box.left - reach), to = line.at(box.right - 1 + reach);
    if (gap > 0 && !end_mark && line.lettered[from] == line.lettered[to + 1]) continue;
    double cost = gap + overshoot + beside + kOffsetWeight * std::abs(opinion - middle);
    cost /= std::sqrt(letter);
    if (cost < cheapest) best = static_cast<int64_t>(l), cheapest = cost;
  }
  return best;
}

// Whether a piece reaches further up, down or along than its line's ink does.
bool overshoots(const Component& box, const Line& line) {
  if (!line.holds(box.left) || !line.holds(box.right - 1)) return true;
  double highest = std::numeric_limits<double>::infinity(), lowest = -highest;
  for (int64_t x = box.left; x < box.right; ++x) {
    const int64_t at = line.at(x);
    const double middle = line.middle[at];
    highest = std::min(highest, middle - line.above[at]);
    lowest = std::max(lowest, middle + line.below[at]);
  }
  const double slack = kSlack * line.letter;
  return box.top < highest - slack || box.bottom > lowest + slack;
}

// Whether a piece that overshoots its only line is a bar beside it or a rule through it.
bool is_rule(const Component& box, const Line& line) {
  const int64_t width = box.right - box.left;
  return width <= kThin * line.letter || width >= kLong * (line.to_x - line.from_x);
}

// The owner of ink of a line at page column x: what stands beyond a line's columns is not its.
uint16_t owner_at(const std::vector<Line>& lines, int32_t line, int64_t x) {
  return lines[line].holds(x) ? static_cast<uint16_t>(line + 1) : kNobody;
}

// The line that piece `c` seems to belong to, and those that part of it belongs to by the network's
// opinion of its pixels; ascending.
std::vector<int32_t> with_voted(const Pieces& pieces, int32_t c, const Component& box, int32_t own,
                                const std::vector<Line>& lines) {
  std::vector<int32_t> found = {own};
  std::vector<double> here, other;  // middles by column
  for (size_t l = 0; l < lines.size(); ++l) {
    const Line& line = lines[l];
    if (static_cast<int32_t>(l) == own || box.left >= line.end || box.right <= line.first) continue;
    const double middle = line.middle[line.at(box.left + (box.right - box.left) / 2)];
    if (middle - 1.5 * line.letter > box.bottom || middle + 1.5 * line.letter < box.top) continue;
    const int64_t from = std::max<int64_t>(box.left, line.first);
    const int64_t to = std::min<int64_t>(box.right, line.end);
    here.resize(to - from), other.resize(to - from);
    for (int64_t x = from; x < to; ++x) {
      here[x - from] = line.middle[line.at(x)];
      other[x - from] = lines[own].middle[lines[own].at(x)];
    }
    int64_t votes = 0;
    for (const Run& run : pieces.of(c))
      for (int64_t x = std::max<int64_t>(run.begin, from); x < std::min<int64_t>(run.end, to);
           ++x) {
        const double opinion = pieces.opinion(run.y, x);
        const double distance = std::abs(opinion - here[x - from]);
        votes += distance < line.letter / 2 && distance < std::abs(opinion - other[x - from]);
      }
    if (votes >= kVoted * (line.letter * line.letter)) found.push_back(static_cast<int32_t>(l));
  }
  std::sort(found.begin(), found.end());
  return found;
}

// Each pixel of piece `c` to the line whose distances reach it best, and the network's opinion;
// then what was cut off is given back. `sure`: the lines that it touches.
void cut_piece(const Pieces& pieces, int32_t c, const Component& box,
               const std::vector<int32_t>& sure, const std::vector<Line>& lines, uint16_t* owners) {
  const int64_t height = box.bottom - box.top, width = box.right - box.left;
  const uint8_t nobody = static_cast<uint8_t>(sure.size() + 1);
  // 1. the nearest line, by its distances and the network's opinion
  std::vector<uint8_t> share(height * width, 0);    // index in `sure` + 1, then nobody
  std::vector<uint8_t> in_core(height * width, 0);  // stands in the band of its share
  for (const Run& run : pieces.of(c))
    for (int64_t page_x = run.begin; page_x < run.end; ++page_x) {
      const int64_t page_y = run.y, i = (page_y - box.top) * width + page_x - box.left;
      const double opinion = pieces.opinion(page_y, page_x);
      uint8_t best = nobody;
      double nearest = std::numeric_limits<double>::infinity();
      for (size_t k = 0; k < sure.size(); ++k) {
        const Line& line = lines[sure[k]];
        if (!line.holds(page_x)) continue;
        const int64_t at = line.at(page_x);
        const double middle = line.middle[at], u = page_y + 0.5 - middle;
        const double reach = u < 0 ? line.above[at] : line.below[at];
        if (std::abs(u) > reach + kSlack * line.letter) continue;
        const double distance =
            std::abs(u) / reach + kOffsetWeight * (std::abs(opinion - middle) / line.letter);
        if (distance < nearest) best = static_cast<uint8_t>(k + 1), nearest = distance;
      }
      share[i] = best;
      if (best == nobody) continue;
      const Line& line = lines[sure[best - 1]];
      in_core[i] = line.from_x <= page_x && page_x < line.to_x && line.in_band(page_y, page_x);
    }
  // 2. connected parts of one share; those that stand in their band, or all in all seem to be its,
  //    stay
  std::vector<int32_t> part(height * width);
  const std::vector<Component> parts = label(share.data(), height, width, part.data());
  std::vector<uint8_t> anchored(parts.size() + 1, 0), kind(parts.size() + 1, 0);
  std::vector<double> opinion(parts.size() + 1, 0.0);
  for (const Run& run : pieces.of(c))
    for (int64_t x = run.begin; x < run.end; ++x) {
      const int64_t i = (run.y - box.top) * width + x - box.left;
      kind[part[i]] = share[i];
      if (in_core[i]) anchored[part[i]] = 1;
      opinion[part[i]] += pieces.opinion(run.y, x);
    }
  for (size_t p = 1; p <= parts.size(); ++p) {
    if (kind[p] == nobody) continue;
    const Component& inside = parts[p - 1];
    const double mean = opinion[p] / inside.area;
    const int64_t centre = (inside.left + inside.right) / 2 + box.left;
    double own = 0, others = std::numeric_limits<double>::infinity();
    for (size_t k = 0; k < sure.size(); ++k) {
      const Line& line = lines[sure[k]];
      const double away = std::abs(mean - line.middle[line.at(centre)]);
      if (k + 1 == kind[p])
        own = away;
      else
        others = std::min(others, away);
    }
    const double letter = lines[sure[kind[p] - 1]].letter;
    if (inside.area >= kVoted * (letter * letter) && own < others / 2) anchored[p] = 1;
  }
  // 3. the others go to what they touch most
  std::vector<std::vector<int64_t>> contacts(parts.size() + 1);
  for (const Run& run : pieces.of(c))
    for (int64_t x = run.begin - box.left; x < run.end - box.left; ++x) {
      const int64_t y = run.y - box.top;
      const int32_t p = part[y * width + x];
      if (anchored[p]) continue;
      contacts[p].resize(sure.size(), 0);
      for (int64_t r = std::max<int64_t>(y - 1, 0); r < std::min(y + 2, height); ++r)
        for (int64_t s = std::max<int64_t>(x - 1, 0); s < std::min(x + 2, width); ++s)
          if (anchored[part[r * width + s]]) ++contacts[p][share[r * width + s] - 1];
    }
  std::vector<uint8_t> final_kind = kind;
  for (size_t p = 1; p <= parts.size(); ++p) {
    if (anchored[p]) continue;
    const int64_t best =
        std::max_element(contacts[p].begin(), contacts[p].end()) - contacts[p].begin();
    if (contacts[p][best] == 0) continue;
    const double letter = lines[sure[best]].letter;
    const Component& x = parts[p - 1];
    const bool is_small = x.bottom - x.top <= letter && x.right - x.left <= 2 * letter;
    if (kind[p] != nobody || is_small) final_kind[p] = static_cast<uint8_t>(best + 1);
  }
  for (const Run& run : pieces.of(c))
    for (int64_t x = run.begin; x < run.end; ++x) {
      const uint8_t k = final_kind[part[(run.y - box.top) * width + x - box.left]];
      owners[run.y * pieces.X + x] = k == nobody ? kFrame : owner_at(lines, sure[k - 1], x);
    }
}

// Where crops are painted over with paper: owners [Y, X] -> painted [Y, X].
void paint(const uint16_t* owners, int64_t Y, int64_t X, uint8_t* painted) {
  // three rows at a time, a column of paper at both sides
  const int64_t stride = X + 2;
  std::vector<uint8_t> frame(3 * stride), other(3 * stride), frames(stride), others(stride);
  const auto look = [&](int64_t y) {
    uint8_t* f = frame.data() + y % 3 * stride + 1;
    uint8_t* o = other.data() + y % 3 * stride + 1;
    std::fill_n(f, X, 0), std::fill_n(o, X, 0);
    if (y == Y) return;
    for (int64_t x = 0; x < X; ++x) f[x] = owners[y * X + x] == kFrame;
    for (int64_t x = 0; x < X; ++x) o[x] = (owners[y * X + x] != 0) > f[x];
  };
  const auto all = [&](const std::vector<uint8_t>& rows, std::vector<uint8_t>& out) {
    const uint8_t *a = rows.data(), *b = a + stride, *c = b + stride;
    for (int64_t x = 0; x < stride; ++x) out[x] = a[x] | b[x] | c[x];
  };
  if (Y > 0) look(0);
  for (int64_t y = 0; y < Y; ++y) {
    look(y + 1);
    all(frame, frames), all(other, others);
    const uint8_t *f = frames.data(), *o = others.data(), *own = frame.data() + y % 3 * stride + 1;
    uint8_t* out = painted + y * X;
    for (int64_t x = 0; x < X; ++x) {
      const uint8_t beside = f[x] | f[x + 1] | f[x + 2], mixed = o[x] | o[x + 1] | o[x + 2];
      out[x] = own[x] | (beside > mixed);
    }
  }
}

// The lines' extents, pixels and bands, and what no line took; `cores` are those of count_cores.
void measure(const uint8_t* ink, const Pieces& pieces, const LineColumns& columns,
             const std::vector<Line>& lines, const std::vector<std::vector<Core>>& cores,
             const Owned& out) {
  const int64_t Y = pieces.Y, X = pieces.X;
  std::fill_n(out.top, columns.begin[columns.lines], static_cast<int32_t>(Y));
  std::fill_n(out.bottom, columns.begin[columns.lines], 0);
  std::fill_n(out.counts, 2 * columns.lines, 0);
  std::fill_n(out.band, 3 * columns.lines, 0);
  std::fill_n(out.unread, 2 * cores.size(), 0);
  // 1. stretches of one owner
  for (const Run& run : pieces.by_row) {
    const uint16_t* owner = out.owners + run.y * X;
    const uint8_t kind = ink[run.y * X + run.begin];
    for (int32_t begin = run.begin, end = begin; begin < run.end; begin = end) {
      const uint16_t own = owner[begin];
      while (end < run.end && owner[end] == own) ++end;
      if (own >= kFrame) {
        if (kind != kRule) out.unread[2 * run.piece + (own == kFrame)] += end - begin;
        continue;
      }
      const Line& line = lines[own - 1];
      const int64_t first = columns.begin[own - 1] - line.first;
      for (int64_t x = begin; x < end; ++x) {
        out.top[first + x] = std::min(out.top[first + x], run.y);
        out.bottom[first + x] = run.y + 1;
      }
      out.counts[2 * (own - 1) + (kind == kLighter)] += end - begin;
      for (int64_t x = std::max<int64_t>(begin, line.from_x); x < std::min<int64_t>(end, line.to_x);
           ++x)
        out.band[3 * (own - 1) + 1] += line.in_band(run.y, x);
    }
  }
  // 2. ink in the bands that is not the line's
  for (const std::vector<Core>& found : cores)
    for (const Core& core : found) out.band[3 * core.line + 2] += core.pixels;
  // 3. strokes
  for (size_t l = 0; l < lines.size(); ++l) {
    const Line& line = lines[l];
    int32_t* count = out.band + 3 * l;
    count[2] -= count[1];
    for (double part : {-0.25, 0.0, 0.25}) {
      int32_t runs = 0;
      bool before = false;
      for (int64_t x = line.from_x; x < line.to_x; ++x) {
        const double y = line.middle[x - line.first] + part * line.letter;
        const bool inked = y >= 0 && y < Y && out.owners[static_cast<int64_t>(y) * X + x] == l + 1;
        runs += inked && !before;
        before = inked;
      }
      count[0] = std::max(count[0], runs);
    }
  }
}

}  // namespace

void assign_ink(const uint8_t* ink, const int32_t* labels, int64_t Y, int64_t X,
                const std::vector<Component>& components, const float* offset, int64_t offset_ld,
                const LineColumns& columns, const Owned& out) {
  std::vector<Line> lines = lines_of(columns, Y);
  const size_t C = components.size();
  const Pieces pieces(ink, labels, Y, X, C, offset, offset_ld);
  // 1. where the network thinks that each piece's line is: its ink's mean middle
  std::vector<double> opinion(C, 0.0);
  std::vector<uint8_t> kind(C, 0);
  for (const Run& run : pieces.by_row) {
    double sum = opinion[run.piece];
    for (int64_t x = run.begin; x < run.end; ++x) sum += pieces.opinion(run.y, x);
    opinion[run.piece] = sum;
    kind[run.piece] = ink[run.y * X + run.begin];
  }
  for (size_t c = 0; c < C; ++c) opinion[c] /= components[c].area;
  // 2. ink of each piece in each line's band
  const std::vector<std::vector<Core>> cores = count_cores(pieces, lines);
  // 3. each piece to a line, to nobody, or cut
  std::vector<uint16_t> owner(C, kNobody);
  std::vector<std::vector<int32_t>> cuts(C);
  for (size_t c = 0; c < C; ++c) {
    if (kind[c] == kRule) {
      owner[c] = kFrame;
      continue;
    }
    const Component& box = components[c];
    std::vector<int32_t> sure;
    const Core* most = nullptr;
    for (const Core& core : cores[c]) {
      const double letter = lines[core.line].letter;
      if (core.pixels >= kSureCore * (letter * letter)) sure.push_back(core.line);
      if (!most || core.pixels > most->pixels) most = &core;
    }
    if (sure.empty() && most) sure.push_back(most->line);
    const bool cored = !sure.empty();
    if (!cored) {
      const int64_t line = nearest_line(box, opinion[c], lines);
      if (line < 0) continue;
      sure.push_back(static_cast<int32_t>(line));
    }
    if (sure.size() == 1) sure = with_voted(pieces, static_cast<int32_t>(c), box, sure[0], lines);
    if (sure.size() > 1 || (cored && overshoots(box, lines[sure[0]]))) {
      const bool rule = sure.size() == 1 && is_rule(box, lines[sure[0]]);
      if (sure.size() <= kMostShared && !rule)
        cuts[c] = sure;
      else
        owner[c] = kFrame;
    } else {
      owner[c] = static_cast<uint16_t>(sure[0] + 1);
    }
  }
  std::fill_n(out.owners, Y * X, 0);
  for (const Run& run : pieces.by_row) {
    const uint16_t own = owner[run.piece];
    for (int64_t x = run.begin; x < run.end; ++x)
      out.owners[run.y * X + x] = own < kFrame ? owner_at(lines, own - 1, x) : own;
  }
  for (size_t c = 0; c < C; ++c)
    if (!cuts[c].empty())
      cut_piece(pieces, static_cast<int32_t>(c), components[c], cuts[c], lines, out.owners);
  // 4. what that comes to
  paint(out.owners, Y, X, out.painted);
  measure(ink, pieces, columns, lines, cores, out);
}

}  // namespace khmer_fast
