#include "gateway/history/usage_journal.h"

namespace classgate::gateway {
namespace {

// By the one thread that writes it.
void increase(std::atomic<std::uint64_t>& sum, std::uint64_t by = 1) {
  sum.store(sum.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
}

template <std::size_t size>
void read_sums(const std::array<std::atomic<std::uint64_t>, size>& from,
               std::array<std::uint64_t, size>& into) {
  for (std::size_t i = 0; i < size; ++i) into[i] = from[i].load(std::memory_order_relaxed);
}

}  // namespace

void UsageJournal::add_to_sums(const history::Use& use) {
  const auto end = static_cast<std::size_t>(use.end);
  increase(sums_.ends[end]);
  if (use.reason != history::Use::no_reason) increase(sums_.reasons[use.reason][end]);
  increase(sums_.statuses[use.status < 600 ? use.status / 100 : 0][end]);
  increase(sums_.cost, use.cost);
  increase(sums_.bytes_in, use.bytes_in);
  increase(sums_.bytes_out, use.bytes_out);
}

UsageJournal::Sums UsageJournal::sums() const {
  Sums sums;
  read_sums(sums_.ends, sums.ends);
  for (std::size_t i = 0; i < sums.reasons.size(); ++i)
    read_sums(sums_.reasons[i], sums.reasons[i]);
  for (std::size_t i = 0; i < sums.statuses.size(); ++i)
    read_sums(sums_.statuses[i], sums.statuses[i]);
  sums.cost = sums_.cost.load(std::memory_order_relaxed);
  sums.bytes_in = sums_.bytes_in.load(std::memory_order_relaxed);
  sums.bytes_out = sums_.bytes_out.load(std::memory_order_relaxed);
  return sums;
}

}  // namespace classgate::gateway
