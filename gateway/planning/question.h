#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "admission/simulation/traffic.h"
#include "conf/command_line.h"
#include "conf/workload.h"

namespace classgate::planning {

class LogTraffic;

struct RequestField {
  std::string name;
  std::string value;
};

// What a request says: its path, method and whatever else is the same for all of its group.
struct Question {
  std::string path = "/";
  std::string method = "POST";
  std::string body = {};
  std::vector<RequestField> fields = {};
  bool is_whole = false;  // only what HTTP needs is added: no Content-Type of ours
  std::string key_field = {};
  std::vector<std::string> keys = {};  // of its clients in turn, in that field
  std::uint32_t first_client = 0;      // who has the first of these

  bool has(std::string_view field) const;
  const std::string& key_of(std::uint32_t client) const {
    return keys[(client - first_client) % keys.size()];
  }
};

// What the command line says of all requests, in place of what the traffic says of them.
class GivenQuestion {
 public:
  // Reads the files that it names. The error names the option or the place in the file.
  static std::expected<GivenQuestion, std::string> read(const conf::PlanningOptions& options);

  // With a body it is POST, unless a method is given.
  Question over(Question question) const;
  // Of a log those that had no body have none.
  Question over_logged(Question question) const;

 private:
  std::string why_not(const RequestField& field) const;

  std::optional<Question> whole_;
  std::string path_;
  std::string method_;
  std::optional<std::string> body_;
  std::string grpc_;  // what is called
  std::vector<RequestField> fields_;
};

// What the log has of it: no log of ours or another's tells the body, nor is sure to tell the
// query.
Question question_of(const LogTraffic& log, const simulation::Wish& wish);
// Of each class of a workload; without one what a classify service takes. At least one.
std::vector<Question> questions_of(const conf::Workload* workload);
// "POST /v1/classify with a body of 52 bytes"
std::string describe(const Question& question);

}  // namespace classgate::planning
