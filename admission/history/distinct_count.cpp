#include "admission/history/distinct_count.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numbers>

namespace classgate::history {
namespace {

constexpr int rank_max = 64 - DistinctCount::bits + 1;

// The finisher of splitmix64 (Steele, Lea, Flood 2014): each bit of it depends on each of the id.
std::uint64_t mixed(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

// Ertl's series for the registers that hold nothing, and for those that are full.
double sigma(double x) {
  if (x == 1) return std::numeric_limits<double>::infinity();
  double sum = x;
  for (double weight = 1, before = -1; sum != before; weight *= 2) {
    x *= x;
    before = sum;
    sum += x * weight;
  }
  return sum;
}

double tau(double x) {
  if (x == 0 || x == 1) return 0;
  double rest = 1 - x;
  for (double weight = 1, before = -1; rest != before;) {
    x = std::sqrt(x);
    before = rest;
    weight /= 2;
    rest -= (1 - x) * (1 - x) * weight;
  }
  return rest / 3;
}

}  // namespace

bool DistinctCount::add(std::uint64_t id) {
  const std::uint64_t hash = mixed(id);
  // A one behind the bits that are left ends the zeros.
  const std::uint64_t rest = hash << bits | std::uint64_t{1} << (bits - 1);
  std::uint8_t& rank = ranks_[hash >> (64 - bits)];
  const auto came = static_cast<std::uint8_t>(std::countl_zero(rest) + 1);
  if (came <= rank) return false;
  rank = came;
  return true;
}

void DistinctCount::add(const DistinctCount& other) {
  for (std::size_t i = 0; i < registers; ++i) ranks_[i] = std::max(ranks_[i], other.ranks_[i]);
}

bool DistinctCount::raise(std::size_t place, std::uint8_t rank) {
  if (place >= registers || rank > rank_max) return false;
  ranks_[place] = std::max(ranks_[place], rank);
  return true;
}

double DistinctCount::estimate() const {
  std::array<double, rank_max + 1> counts{};
  for (const std::uint8_t rank : ranks_) ++counts[rank];
  constexpr double m = registers;
  double z = m * tau(1 - counts[rank_max] / m);
  for (int rank = rank_max - 1; rank >= 1; --rank)
    z = (z + counts[static_cast<std::size_t>(rank)]) / 2;
  z += m * sigma(counts[0] / m);
  return m * m / (2 * std::numbers::ln2 * z);
}

}  // namespace classgate::history
