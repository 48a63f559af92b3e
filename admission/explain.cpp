#include "admission/explain.h"

#include "admission/controller.h"
#include "admission/top_clients.h"

namespace classgate::admission {

// As screen() and arrive(), with looks in place of deeds: the same rules in between.
Explanation Controller::explain(Arrival arrival, Time now) const {
  Explanation said;
  const ClientTable& clients = intake_.clients();
  const Limits& limits = intake_.limits();
  TokenBucket all = limits.all();
  EqualParts parts = clients.parts();
  if (const auto changed = intake_.foresee_rate(line_.waiting() == 0, now)) {
    all = *changed;
    parts = clients.parts_of(limits.shared_out(all));
  }
  said.client = intake_.look_for(arrival, now, parts, limits.asks_shared(arrival));
  if (said.client && said.client->number < clients.end() &&
      line_.is_beyond_share(arrival, said.client->number))
    Line::take_favour(arrival);
  said.priority = arrival.priority;
  Line::Asker asker;
  if (said.client)
    asker = {.number = said.client->number,
             .has_all_its_workers = said.client->has_all_its_workers(),
             .has_all_its_places = said.client->has_all_its_places(),
             .plan_priority = said.client->plan_priority,
             .weight = said.client->weight};
  said.buckets =
      limits.look(arrival, said.client,
                  retry_after_.comings_of(arrival, asker.weight, limits, all, now), all, now);
  said.pattern = intake_.look_at_pattern(arrival, said.client, now);
  said.is_short = shortage_.is_there(is_short_seen(now), now);
  said.buckets.pattern = bucket_of(said.pattern, arrival.cost);
  Intake::Findings findings =
      excused(intake_.foresee(arrival, said.client, said.buckets, now), arrival, asker, now);
  if (said.buckets.pattern && said.is_short) findings.pattern_wait = said.buckets.pattern->wait;
  said.is_retry = findings.is_retry;
  Line::Judgement judgement{.goes_in = line_.may_go_in(arrival, asker, now)};
  if (intake_.is_draining())
    judgement = {.rejection = Rejection{conf::Reason::draining, drain_time()}};
  else if (const auto reason = intake_.refusal(findings, judgement.goes_in))
    judgement.rejection = refused_by_intake(*reason, findings);
  else
    judgement = line_.judge(arrival, asker, judgement.goes_in, now);
  if (judgement.rejection) {  // as reject() completes it
    line_.describe(*judgement.rejection, arrival, asker, now);
    retry_after_.foretell(*judgement.rejection, arrival, said.client, limits, said.buckets,
                          line_.queue_state(), now);
  }

  said.kind = judgement.rejection ? Explanation::Kind::refused
              : judgement.goes_in ? Explanation::Kind::admitted
                                  : Explanation::Kind::waits;
  if (judgement.rejection) said.rejection = *judgement.rejection;
  if (!judgement.rejection) {  // as screen() has it: the first counts
    if (said.buckets.wait.time > Duration::zero())
      said.observed = said.buckets.wait.reason;
    else if (findings.pattern_wait > Duration::zero())
      said.observed = conf::Reason::client_pattern;
    else if (judgement.would_miss_deadline)
      said.observed = conf::Reason::would_miss_deadline;
  }
  said.is_a_try = judgement.is_a_try;

  line_.write_to(said, arrival, asker, judgement.goes_in, now);
  return said;
}

ClientNumber Controller::show_clients(ClientNumber first, ClientNumber count, Time now,
                                      TopClients& to) const {
  const ClientTable& clients = intake_.clients();
  const ClientNumber end = clients.end();
  for (ClientNumber number = first; number < end && number - first < count; ++number)
    to.offer({clients.id_of(number), clients.look(number, now)});
  return end;
}

}  // namespace classgate::admission
