#pragma once

#include <string>
#include <string_view>
#include <unordered_map>

#include "admission/ids.h"
#include "conf/settings.h"
#include "gateway/planning/access_entry.h"

namespace classgate::planning {

// Which plan of the conf a request of a log is on, by the names that both know; and what a log must
// tell so that this conf's limits for each client can be tried.
class ClientPlans {
 public:
  explicit ClientPlans(const conf::Settings& settings);

  struct Found {
    admission::PlanId plan{};
    bool is_told = true;     // by the log
    bool is_in_conf = true;  // or it is one of another conf
  };
  // A client of the conf's file has the plan that it has there.
  Found of(const AccessEntry& entry) const;
  bool are_any() const { return !by_name_.empty(); }
  // It limits each client, and tells clients apart by what is no address.
  bool need_ids() const { return need_ids_; }

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const {
      return std::hash<std::string_view>{}(text);
    }
  };
  using Plans = std::unordered_map<std::string, admission::PlanId, Hash, std::equal_to<>>;
  Plans by_name_;
  Plans of_known_;  // by the client's name
  bool need_ids_ = false;
};

}  // namespace classgate::planning
