#include "admission/explain.h"

#include "admission/controller.h"
#include "admission/top_clients.h"

namespace classgate::admission {

// As screen() and arrive(), with looks in place of deeds: the same judge() in between.
Explanation Controller::explain(Arrival arrival, Time now) const {
  Explanation said;
  TokenBucket all = limits_.all();
  EqualParts parts = clients_.parts();
  RateFollower rate = rate_follower_;
  if (settings_.rate_is_auto && rate.tick(line_.waiting() == 0, now)) {
    all.reconfigure(rate.rate(), settings_.burst, now);
    parts = clients_.parts_of(limits_.shared_out(all));
  }
  said.client = look_for_client(arrival, now, parts, limits_.asks_shared(arrival));
  if (said.client && said.client->number < clients_.end() &&
      line_.is_beyond_share(arrival, said.client->number))
    Line::take_favour(arrival);
  said.priority = arrival.priority;
  said.buckets = limits_.look(arrival, said.client, all, now);
  said.is_retry = said.client && is_retry(arrival);

  Asker asker;
  if (said.client)
    asker = {.in_line = {.number = said.client->number,
                         .has_all_its_workers = said.client->has_all_its_workers(),
                         .has_all_its_places = said.client->has_all_its_places()},
             .retries_too_much = said.is_retry && !said.client->may_retry};
  Line::Judgement judgement = judge(arrival, asker, said.buckets.wait, now);
  if (draining_) judgement = {.rejection = Rejection{conf::Reason::draining, drain_time()}};
  if (judgement.rejection) {  // as reject() completes it
    line_.describe(*judgement.rejection, arrival, asker.in_line, now);
    retry_after_.foretell(*judgement.rejection, arrival, said.client, limits_, said.buckets,
                          line_.queue_state(), now);
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

  line_.write_to(said, arrival, asker.in_line, judgement.goes_in, now);
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
