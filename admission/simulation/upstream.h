#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "admission/time.h"
#include "conf/workload.h"

namespace classgate::simulation {

// The service behind the gateway: computes so many requests at once, lets the others wait inside in
// the order in which they came, and slows down when too much is in it. Or it answers in groups, as
// model servers do that batch (Triton, TEI): whoever is free takes up to `batch` of those that wait
// inside, at once when they are so many and else `batch_wait` after the first of them came (which
// may be over when somebody is free at last); all of a group end together, after the longest. What
// it has begun it finishes, whether anybody listens or not, unless it is one that stops. Several
// servers count as one large.
class Upstream {
 public:
  static constexpr std::uint32_t nobody = 0xffffffff;
  struct Started {
    std::uint32_t job;
    std::uint32_t generation;
    admission::Duration takes;
  };
  struct Entered {
    std::uint32_t job;
    std::optional<Started> started;  // none: it waits inside
  };
  struct Finished {
    std::uint32_t caller;            // nobody: whoever asked has gone
    std::optional<Started> started;  // the next one
  };

  explicit Upstream(const conf::UpstreamModel& model) : model_(model) {}

  Entered enter(std::uint32_t caller, admission::Duration service, admission::Time now);
  // Those that started besides, in the last call of any of these: of a service that answers in
  // groups. Empty from then on.
  std::vector<Started>& others_started() { return others_started_; }
  // False when that job has been stopped: the event is void.
  bool is_computing(std::uint32_t job, std::uint32_t generation) const;
  Finished finish(std::uint32_t job, admission::Time now);
  // The connection was closed. A service that stops may have room for the next one.
  std::optional<Started> leave(std::uint32_t job);

 private:
  struct Job {
    admission::Duration service{};
    admission::Time came{};
    std::uint32_t caller = nobody;
    std::uint32_t generation = 0;
    bool is_computing = false;
    bool is_stopped = false;  // while it waited inside
    std::uint32_t group = no_group;
  };
  static constexpr std::uint32_t no_group = 0xffffffff;

  std::optional<Started> start(std::uint32_t job);
  std::optional<Started> start_next();
  void free(std::uint32_t job);
  std::uint32_t take_job(std::uint32_t caller, admission::Duration service);
  void drop_stopped();
  void gather(admission::Time now);
  void start_group();
  void end_one_of(std::uint32_t group, admission::Time now);
  bool has_room() const {
    return model_.capacity == 0 || computing_ < std::uint64_t{model_.capacity} * model_.servers;
  }

  conf::UpstreamModel model_;
  std::vector<Job> jobs_;
  std::vector<std::uint32_t> free_;
  std::deque<std::uint32_t> waiting_;
  std::size_t computing_ = 0;
  std::size_t in_service_ = 0;  // computing or waiting inside
  // Of a service that answers in groups.
  std::vector<std::uint32_t> groups_;  // how many of each still compute; 0: of nobody
  std::uint32_t groups_computing_ = 0;
  std::uint32_t alarm_ = no_group;  // a job that stands for the end of batch_wait
  std::vector<Started> others_started_;
};

}  // namespace classgate::simulation
