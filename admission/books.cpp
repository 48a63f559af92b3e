#include "admission/books.h"

#include <algorithm>

namespace classgate::admission {
namespace {

Quantiles quantiles_of(const measure::Recent::Histogram& values) {
  return {values.percentile(0.50), values.percentile(0.95), values.percentile(0.99)};
}

Duration mean(Duration sum, std::uint64_t count) {
  return count == 0 ? Duration::zero() : sum / static_cast<Duration::rep>(count);
}

}  // namespace

void Books::reject(conf::Reason reason, Time now) {
  ++rejected_[conf::index_of(reason)];
  if (conf::kind_of(reason) == conf::ReasonKind::workers) last_overload_ = now;
}

void Books::close(const Outcome& outcome, Time now) {
  switch (outcome.kind) {
    case Outcome::Kind::processed: ++processed_; break;
    case Outcome::Kind::failed: fail(outcome.reason); break;
    case Outcome::Kind::abandoned: ++abandoned_; break;
    case Outcome::Kind::rejected: reject(outcome.reason, now); break;
  }
}

void Books::wait_ended(Duration waited, Time now) {
  wait_sum_ += waited;
  ++wait_count_;
  waits_.record(waited, now);
}

void Books::process_ended(Duration took, Time now) {
  process_sum_ += took;
  ++process_count_;
  processes_.record(took, now);
}

// An exponential mean over some 32. One tunnel of minutes among requests of milliseconds moves it
// by a quarter; where all are like that, it is there after some thirty of them.
void Books::worker_came_back(Duration kept) {
  if (usual_turn_ == Duration::zero()) {
    usual_turn_ = kept;
    return;
  }
  const Duration most = 8 * std::max<Duration>(usual_turn_, std::chrono::microseconds(1));
  usual_turn_ += std::min(kept - usual_turn_, most) / 32;
}

void Books::write_to(Snapshot& snapshot, Time now) const {
  snapshot.total = total_;
  snapshot.processed = processed_;
  snapshot.abandoned = abandoned_;
  snapshot.rejected = rejected_;
  snapshot.failed = failed_;
  snapshot.observed = observed_;
  snapshot.average_wait = mean(wait_sum_, wait_count_);
  snapshot.average_process = mean(process_sum_, process_count_);
  snapshot.wait = quantiles_of(waits_.at(now));
  snapshot.process = quantiles_of(processes_.at(now));
  if (last_overload_ != Time::min()) snapshot.since_last_overload = now - last_overload_;
}

}  // namespace classgate::admission
