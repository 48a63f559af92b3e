#include "gateway/planning/question.h"

#include <algorithm>

#include "conf/format.h"
#include "gateway/planning/log_traffic.h"

namespace classgate::planning {
namespace {

constexpr std::string_view words = "good coffee and friendly staff ";

// A body of the wished size, or longer, that a classify service takes.
std::string body_of(std::uint64_t bytes) {
  std::string body = "{\"text\": \"";
  const std::string_view end = "\"}";
  while (body.size() + end.size() < std::max<std::uint64_t>(bytes, 40))
    body += words[body.size() % words.size()];
  return body.append(end);
}

// The first of its items takes what is missing to the wished size.
std::string batch_of(std::uint64_t bytes, std::uint32_t items) {
  std::string rest;
  for (std::uint32_t i = 1; i < items; ++i) rest += ", \"good coffee\"";
  std::string body = "{\"items\": [\"";
  const std::string end = "\"" + rest + "]}";
  while (body.size() + end.size() < std::max<std::uint64_t>(bytes, 40))
    body += words[body.size() % words.size()];
  return body.append(end);
}

// As a client has to write it.
std::string target_of_path(std::string_view path) {
  std::string target;
  for (const char c : path)
    if (c > ' ' && c < '\x7f' && c != '?' && c != '#')
      target += c;
    else
      target += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  return target;
}

// Exactly so long, and JSON where that is possible.
std::string sized_body(std::uint64_t bytes) {
  constexpr std::string_view begin = "{\"text\": \"";
  constexpr std::string_view end = "\"}";
  constexpr std::uint64_t most = 64ULL << 20;
  const std::size_t size = static_cast<std::size_t>(std::min(bytes, most));
  if (size < begin.size() + end.size()) return std::string(size, '0');
  std::string body(begin);
  while (body.size() + end.size() < size) body += words[body.size() % words.size()];
  return body.append(end);
}

}  // namespace

Question question_of(const LogTraffic& log, const simulation::Wish& wish) {
  const LogQuestions::Asked asked = log.asked_by(wish);
  Question question;
  question.path = asked.path.empty() ? log.group_name(wish.group) : target_of_path(asked.path);
  question.body = sized_body(wish.bytes);
  question.method = !asked.method.empty() ? asked.method : question.body.empty() ? "GET" : "POST";
  return question;
}

std::vector<Question> questions_of(const conf::Workload* workload) {
  if (workload == nullptr) return {{"/v1/classify", "POST", body_of(0)}};
  std::vector<Question> questions;
  for (const conf::WorkloadClass& of : workload->classes) {
    const bool has_body = of.body.count > 0 || of.path.starts_with("/v1/");
    if (!has_body)
      questions.push_back({of.path, "GET", ""});
    else
      questions.push_back({of.path, "POST",
                           of.path.ends_with("/batch") ? batch_of(of.body.count, of.items)
                                                       : body_of(of.body.count)});
  }
  return questions;
}

}  // namespace classgate::planning
