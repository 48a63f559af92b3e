#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "admission/time.h"
#include "conf/workload.h"

namespace classgate::simulation {

// The service behind the gateway: computes so many requests at once, lets the others wait inside in
// the order in which they came, and slows down when too much is in it. What it has begun it
// finishes, whether anybody listens or not, unless it is one that stops. Several servers count as
// one large.
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

  Entered enter(std::uint32_t caller, admission::Duration service);
  // False when that job has been stopped: the event is void.
  bool is_computing(std::uint32_t job, std::uint32_t generation) const;
  Finished finish(std::uint32_t job);
  // The connection was closed. A service that stops may have room for the next one.
  std::optional<Started> leave(std::uint32_t job);

 private:
  struct Job {
    admission::Duration service{};
    std::uint32_t caller = nobody;
    std::uint32_t generation = 0;
    bool is_computing = false;
    bool is_stopped = false;  // while it waited inside
  };

  std::optional<Started> start(std::uint32_t job);
  std::optional<Started> start_next();
  void free(std::uint32_t job);
  bool has_room() const {
    return model_.capacity == 0 || computing_ < std::uint64_t{model_.capacity} * model_.servers;
  }

  conf::UpstreamModel model_;
  std::vector<Job> jobs_;
  std::vector<std::uint32_t> free_;
  std::deque<std::uint32_t> waiting_;
  std::size_t computing_ = 0;
  std::size_t in_service_ = 0;  // computing or waiting inside
};

}  // namespace classgate::simulation
