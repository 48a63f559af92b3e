#include "admission/explain.h"

#include <algorithm>

#include "admission/controller.h"
#include "admission/top_clients.h"

namespace classgate::admission {

// As screen() and arrive(), with looks in place of deeds: the same judge() in between.
Explanation Controller::explain(Arrival arrival, Time now) const {
  Explanation said;
  TokenBucket all = limits_.all();
  EqualParts parts = clients_.parts();
  RateFollower rate = rate_follower_;
  if (settings_.rate_is_auto && rate.tick(queue_.size() == 0, now)) {
    all.reconfigure(rate.rate(), settings_.burst, now);
    parts = clients_.parts_of(limits_.shared_out(all));
  }
  said.client = look_for_client(arrival, now, parts, limits_.asks_shared(arrival));
  if (said.client && said.client->number < clients_.end() &&
      is_beyond_share(arrival, said.client->number))
    take_favour(arrival);
  said.priority = arrival.priority;
  said.buckets = limits_.look(arrival, said.client, all, now);
  said.is_retry = said.client && is_retry(arrival);

  Asker asker;
  if (said.client)
    asker = {.number = said.client->number,
             .has_all_its_workers = said.client->has_all_its_workers(),
             .has_all_its_places = said.client->has_all_its_places(),
             .retries_too_much = said.is_retry && !said.client->may_retry};
  Judgement judgement = judge(arrival, asker, said.buckets.wait, now);
  if (draining_) judgement = {.rejection = Rejection{conf::Reason::draining, drain_time()}};
  if (judgement.rejection) {  // as reject() completes it
    describe(*judgement.rejection, arrival, asker, now);
    retry_after_.foretell(*judgement.rejection, arrival, said.client, limits_, said.buckets,
                          queue_state(), now);
  }

  said.kind = judgement.rejection ? Explanation::Kind::refused
              : judgement.goes_in ? Explanation::Kind::admitted
                                  : Explanation::Kind::waits;
  if (judgement.rejection) said.rejection = *judgement.rejection;
  if (!judgement.rejection) {  // as screen() has it: the first counts
    if (said.buckets.wait.time > Duration::zero())
      said.observed = said.buckets.wait.reason;
    else if (judgement.would_miss_deadline)
      said.observed = conf::Reason::would_miss_deadline;
  }
  said.is_a_try = judgement.is_a_try;

  said.workers = workers();
  said.active = active_;
  said.wanted = std::max(std::min<std::uint32_t>(arrival.workers, workers()), 1U);
  said.reserved_for_priority = shares_.reserve(arrival.priority, workers());
  said.active_of_priority = shares_.active()[static_cast<std::size_t>(arrival.priority - 1)];
  said.waiting = queue_.size();
  said.queue_limit = settings_.queue_size;
  said.waiting_bytes = queue_.bytes();
  said.waiting_bytes_limit = settings_.queue_bytes.count;
  if (!judgement.goes_in) {
    said.place = place_of(arrival, asker);
    said.wait = expected_wait(arrival, asker, now);
    said.displaces = said.kind == Explanation::Kind::waits && needs_room_for(arrival);
  }
  said.work = usual_work(arrival.route);
  said.most_work = deadlines_.most_work(arrival.route);
  return said;
}

ClientNumber Controller::show_clients(ClientNumber first, ClientNumber count, Time now,
                                      TopClients& to) const {
  const ClientNumber end = clients_.end();
  for (ClientNumber number = first; number < end && number - first < count; ++number)
    to.offer({clients_.id_of(number), clients_.look(number, now)});
  return end;
}

}  // namespace classgate::admission
