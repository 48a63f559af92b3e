#include "admission/shadow.h"

namespace classgate::admission {
namespace {

// The tag of a request in the shadow: 0 when it was let in here, else its reason and 1.
std::uint32_t tag_of(std::optional<conf::Reason> refused) {
  return refused ? static_cast<std::uint32_t>(conf::index_of(*refused)) + 1 : 0;
}

}  // namespace

void Shadow::compare(Arrival arrival, std::optional<conf::Reason> refused, Duration work,
                     Time now) {
  catch_up(now);
  arrival.tag = tag_of(refused);
  arrival.cost_found = 0;  // all that it is known to cost is charged at once here
  arrival.observed.reset();
  if (Duration* const known = works_.find_or_add(arrival.route)) *known = work;
  if (const auto rejection = controller_.screen(arrival, now))
    return is_refused(rejection->reason, arrival.tag);
  const Verdict verdict = controller_.arrive(arrival, now);
  if (const auto* admitted = std::get_if<Admitted>(&verdict))
    goes_in(admitted->seat, arrival.tag, now);
  else if (const auto* rejection = std::get_if<Rejection>(&verdict))
    is_refused(rejection->reason, arrival.tag);
  listen(now);
}

void Shadow::catch_up(Time now) {
  while (!ends_.empty() && ends_.top().at <= now) {
    const End end = ends_.top();
    ends_.pop();
    controller_.finish(Outcome::processed(), end.seat, end.at);
    listen(end.at);
  }
}

void Shadow::listen(Time now) {
  while (const auto notice = controller_.next(now))
    if (const auto* granted = std::get_if<Granted>(&notice->news))
      goes_in(granted->seat, notice->tag, now);
    else
      is_refused(std::get<Rejection>(notice->news).reason, notice->tag);
}

void Shadow::goes_in(const Seat& seat, std::uint32_t refused, Time now) {
  ++(refused == 0 ? counts_.alike : counts_.would_accept[refused - 1]);
  const Duration* const work = works_.find(seat.route);
  ends_.push({now + (work ? *work : controller_.usual_work(seat.route)), seat});
}

void Shadow::is_refused(conf::Reason reason, std::uint32_t refused) {
  ++(refused != 0 ? counts_.alike : counts_.would_refuse[conf::index_of(reason)]);
}

ShadowCounts Shadow::counts() const {
  ShadowCounts counts = counts_;
  counts.waiting = controller_.waiting();
  counts.workers = controller_.limit();
  return counts;
}

}  // namespace classgate::admission
