#include "admission/history/quantile_sketch.h"

#include <algorithm>
#include <cmath>

#include "conf/invariant.h"

namespace classgate::history {
namespace {

constexpr double gamma = (1 + QuantileSketch::error) / (1 - QuantileSketch::error);

double value_of(std::uint16_t bin) {
  return bin == 0 ? 0 : 2 * std::pow(gamma, bin - 1) / (gamma + 1);
}

}  // namespace

std::uint16_t QuantileSketch::bin_of(std::uint32_t value) {
  static const double per_log = 1 / std::log(gamma);
  if (value == 0) return 0;
  // What rounding makes of an exact power may be the next bin: the error is that of rounding.
  return static_cast<std::uint16_t>(1 + std::ceil(std::log(value) * per_log));
}

void QuantileSketch::add(std::uint32_t value, std::uint64_t times) {
  if (times != 0) add_to_bin(bin_of(value), times);
}

void QuantileSketch::add_to_bin(std::uint16_t bin, std::uint64_t times) {
  const auto place = std::ranges::lower_bound(bins_, bin, {}, &Bin::first);
  if (place != bins_.end() && place->first == bin)
    place->second += times;
  else
    bins_.insert(place, {bin, times});
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
