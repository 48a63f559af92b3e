#pragma once

#include <string>
#include <vector>

#include "admission/simulation/traffic.h"
#include "conf/workload.h"

namespace classgate::planning {

class LogTraffic;

// What a request says: its path, method and whatever else is the same for all of its group.
struct Question {
  std::string path = "/";
  std::string method = "POST";
  std::string body;
};

// What the log has of it: no log of ours or another's tells the body, nor is sure to tell the
// query.
Question question_of(const LogTraffic& log, const simulation::Wish& wish);
// Of each class of a workload; without one what a classify service takes. At least one.
std::vector<Question> questions_of(const conf::Workload* workload);

}  // namespace classgate::planning
