#include "admission/history/quantile_sketch.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include "conf/invariant.h"

namespace classgate::history {
namespace {

constexpr double gamma = (1 + QuantileSketch::error) / (1 - QuantileSketch::error);

double value_of(std::uint16_t bin) {
  return bin == 0 ? 0 : 2 * std::pow(gamma, bin - 1) / (gamma + 1);
}

// Which bin a value is in, without a logarithm: by its seven highest bits, and a look at the next
// bin or two, as those seven tell it within 1.6 %, and a bin is 2 % wide.
class BinFinder {
 public:
  BinFinder() {
    for (std::size_t bin = 1; bin < most_.size(); ++bin)
      most_[bin] = static_cast<std::uint32_t>(
          std::min(std::floor(std::pow(gamma, bin - 1)), 4'294'967'295.0));
    for (std::uint32_t value = 0; value < small_.size(); ++value) small_[value] = search(value);
    for (std::uint32_t cell = 0; cell < first_.size(); ++cell)
      first_[cell] = search((64 + cell % 64) << (1 + cell / 64));
  }
  std::uint16_t bin_of(std::uint32_t value) const {
    if (value < small_.size()) return small_[value];
    const auto shift = static_cast<unsigned>(std::bit_width(value)) - 7;
    std::uint16_t bin = first_[(shift - 1) * 64 + (value >> shift) - 64];
    while (most_[bin] < value) ++bin;
    return bin;
  }

 private:
  std::uint16_t search(std::uint32_t value) const {
    return static_cast<std::uint16_t>(std::ranges::lower_bound(most_, value) - most_.begin());
  }
  std::array<std::uint32_t, QuantileSketch::bins_max> most_{};  // the largest value of each
  std::array<std::uint16_t, 128> small_{};
  std::array<std::uint16_t, std::size_t{25} * 64> first_{};  // of values that begin with those bits
};

}  // namespace

std::uint16_t QuantileSketch::bin_of(std::uint32_t value) {
  static const BinFinder bins;
  return bins.bin_of(value);
}

void QuantileSketch::add(std::uint32_t value, std::uint64_t times) {
  if (times != 0) add_to_bin(bin_of(value), times);
}

void QuantileSketch::add_to_bin(std::uint16_t bin, std::uint64_t times) {
  std::size_t place = 0;  // of the first that is not before it
  for (std::size_t left = bins_.size(); left > 0;) {
    const std::size_t half = left / 2;
    const bool is_before = bins_[place + half].first < bin;
    place += is_before ? half + 1 : 0;
    left = is_before ? left - half - 1 : half;
  }
  if (place < bins_.size() && bins_[place].first == bin)
    bins_[place].second += times;
  else
    bins_.insert(bins_.begin() + static_cast<std::ptrdiff_t>(place), {bin, times});
  count_ += times;
}

void QuantileSketch::add(const QuantileSketch& other) {
  std::vector<Bin> sum;
  sum.reserve(bins_.size() + other.bins_.size());
  auto a = bins_.begin();
  for (const Bin& bin : other.bins_) {
    while (a != bins_.end() && a->first < bin.first) sum.push_back(*a++);
    const std::uint64_t here = a != bins_.end() && a->first == bin.first ? (a++)->second : 0;
    sum.emplace_back(bin.first, here + bin.second);
  }
  sum.insert(sum.end(), a, bins_.end());
  bins_ = std::move(sum);
  count_ += other.count_;
}

void QuantileSketch::subtract(const QuantileSketch& other) {
  for (const Bin& bin : other.bins_) {
    const auto place = std::ranges::lower_bound(bins_, bin.first, {}, &Bin::first);
    CLASSGATE_INVARIANT(place != bins_.end() && place->first == bin.first &&
                        place->second >= bin.second);
    place->second -= bin.second;
    count_ -= bin.second;
  }
  std::erase_if(bins_, [](const Bin& bin) { return bin.second == 0; });
}

bool QuantileSketch::append(Bin bin) {
  if (bin.first >= bins_max || bin.second == 0 || bin.second > UINT64_MAX - count_ ||
      (!bins_.empty() && bins_.back().first >= bin.first))
    return false;
  bins_.push_back(bin);
  count_ += bin.second;
  return true;
}

double QuantileSketch::quantile(double q) const {
  const double rank = std::max(std::ceil(q * static_cast<double>(count_)), 1.0);
  double so_far = 0;
  for (const Bin& bin : bins_) {
    so_far += static_cast<double>(bin.second);
    if (so_far >= rank) return value_of(bin.first);
  }
  return bins_.empty() ? 0 : value_of(bins_.back().first);
}

}  // namespace classgate::history
