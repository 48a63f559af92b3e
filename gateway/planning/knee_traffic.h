#pragma once

#include <vector>

#include "admission/simulation/random.h"
#include "admission/simulation/traffic.h"
#include "conf/workload.h"
#include "gateway/planning/knee.h"

namespace classgate::planning {

// A step as traffic: so many requests in the service at every moment, until it is over. Remembers
// of each when it began and ended, and how many had ended before it began.
class KneeTraffic final : public simulation::Traffic {
 public:
  // `service`: what a test service is told that each takes; may be none.
  KneeTraffic(const KneeStep& step, const conf::Law* service, std::uint64_t seed)
      : step_(step), service_(service), random_(seed, step.at_once) {}

  bool next(simulation::Wish& wish) override;
  bool after(const simulation::Wish& wish, const simulation::Ending& ending, admission::Time now,
             simulation::Wish& follow) override;

  // Nothing new is asked any more. Asked now and then, too: a service that answers nothing ends it.
  bool is_over(admission::Time now);
  bool is_answered() const { return open_ == 0; }
  Duration lasted() const { return lasted_; }
  // What came of it; whoever has no answer yet is not waited for.
  KneeMeasure measure(admission::Time now) &&;

 private:
  simulation::Wish make(admission::Time at);
  void note(std::uint32_t number, admission::Time now);

  KneeStep step_;
  const conf::Law* service_;
  simulation::Random random_;
  std::uint32_t begun_ = 0;
  std::uint64_t open_ = 0;
  std::uint64_t served_ = 0;
  std::uint64_t failed_ = 0;
  bool is_over_ = false;
  Duration lasted_{};
  Duration latency_{};  // of the latest
  struct Begun {
    Duration at;
    std::uint64_t answered_before;
    bool is_open;
  };
  std::vector<Begun> all_;
  KneeMeasure measure_;
};

}  // namespace classgate::planning
