#include "gateway/planning/question.h"

#include <algorithm>

#include "conf/ascii.h"
#include "conf/format.h"
#include "conf/printable.h"
#include "conf/text_file.h"
#include "conf/units.h"
#include "gateway/planning/log_traffic.h"
#include "gateway/planning/raw_request.h"

namespace classgate::planning {
namespace {

constexpr std::string_view filler_text = "good coffee and friendly staff ";

// A body of the wished size, or longer, that a classify service takes.
std::string body_of(std::uint64_t bytes) {
  std::string body = "{\"text\": \"";
  const std::string_view end = "\"}";
  while (body.size() + end.size() < std::max<std::uint64_t>(bytes, 40))
    body += filler_text[body.size() % filler_text.size()];
  return body.append(end);
}

// The first of its items takes what is missing to the wished size.
std::string batch_of(std::uint64_t bytes, std::uint32_t items) {
  std::string rest;
  for (std::uint32_t i = 1; i < items; ++i) rest += ", \"good coffee\"";
  std::string body = "{\"items\": [\"";
  const std::string end = "\"" + rest + "]}";
  while (body.size() + end.size() < std::max<std::uint64_t>(bytes, 40))
    body += filler_text[body.size() % filler_text.size()];
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
  while (body.size() + end.size() < size) body += filler_text[body.size() % filler_text.size()];
  return body.append(end);
}

constexpr std::size_t body_bytes_max = 64ULL << 20;

// Not compressed, and its length in four bytes (the protocol of gRPC over HTTP/2).
std::string grpc_message(const std::string& message) {
  std::string framed(1, '\0');
  for (int shift = 24; shift >= 0; shift -= 8)
    framed += static_cast<char>(message.size() >> shift & 0xff);
  return framed + message;
}

// To those without it a body of ours is not added.
bool takes_made_up_body(std::string_view method) { return method != "GET" && method != "HEAD"; }

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
  if (workload == nullptr) return {{.path = "/v1/classify", .body = body_of(0)}};
  std::vector<Question> questions;
  std::uint32_t first_client = 0;
  for (const conf::WorkloadClass& of : workload->classes) {
    Question question{.path = of.path,
                      .key_field = workload->key_header,
                      .keys = of.keys,
                      .first_client = first_client};
    if (of.body.count > 0 || of.path.starts_with("/v1/"))
      question.body =
          of.path.ends_with("/batch") ? batch_of(of.body.count, of.items) : body_of(of.body.count);
    question.method = !of.method.empty() ? of.method : question.body.empty() ? "GET" : "POST";
    if (!takes_made_up_body(question.method) && of.body.count == 0) question.body.clear();
    questions.push_back(std::move(question));
    first_client += std::max(of.clients, of.users);
  }
  return questions;
}

bool Question::has(std::string_view field) const {
  return std::ranges::any_of(
      fields, [&](const RequestField& one) { return conf::equal_but_for_case(one.name, field); });
}

std::expected<GivenQuestion, std::string> GivenQuestion::read(
    const conf::PlanningOptions& options) {
  GivenQuestion given;
  const auto wrong = [](std::string_view option, const std::string& why) {
    return std::unexpected(fmt::format("{}: {}", option, why));
  };
  if (!options.request.empty()) {
    auto request = read_request(options.request);
    if (!request) return std::unexpected(request.error());
    given.whole_ = std::move(*request);
  }
  given.path_ = options.path;
  if (!given.path_.empty())
    if (const std::string why = why_no_target(given.path_); !why.empty()) return wrong("--to", why);
  if (!options.method.empty()) {
    auto method = parse_method(options.method);
    if (!method) return wrong("--method", method.error());
    given.method_ = std::move(*method);
  }
  if (!options.body.empty()) {
    auto body = conf::read_text_file(options.body, {}, conf::FileKind::any, body_bytes_max);
    if (!body) return wrong("--body", conf::printable(options.body) + " " + body.error());
    given.body_ = std::move(*body);
  }
  if (options.body_bytes) given.body_ = sized_body(*options.body_bytes);
  given.grpc_ = options.grpc;
  if (!given.grpc_.empty()) {
    if (const std::string why = why_no_target(given.grpc_); !why.empty())
      return wrong("--grpc", why);
    given.path_ = given.grpc_;
    given.body_ = grpc_message(given.body_.value_or(""));
    given.fields_ = {{"Content-Type", "application/grpc"}, {"TE", "trailers"}};
  }
  for (const std::string& text : options.fields) {
    auto field = parse_field(text);
    if (!field) return wrong("-H", field.error());
    if (const std::string why = given.why_not(*field); !why.empty()) return wrong("-H", why);
    given.fields_.push_back(std::move(*field));
  }
  return given;
}

std::string GivenQuestion::why_not(const RequestField& field) const {
  const auto is = [&](std::string_view name) { return conf::equal_but_for_case(field.name, name); };
  if (is("Content-Length"))
    return "Content-Length is reckoned: the body is what --body, --body-bytes or --request say";
  if (is("Transfer-Encoding") || is("Upgrade"))
    return field.name + " belongs to how a request is sent, which is with a Content-Length";
  if (whole_ && whole_->has(field.name))
    return field.name + " stands in the file of --request already: leave it out in one of them";
  const auto is_same = [&](const RequestField& other) { return is(other.name); };
  if (is("Host") && std::ranges::any_of(fields_, is_same)) return "Host is given twice";
  return {};
}

Question GivenQuestion::over(Question question) const {
  if (whole_) {
    Question whole = *whole_;
    whole.key_field = std::move(question.key_field);
    whole.keys = std::move(question.keys);
    whole.first_client = question.first_client;
    question = std::move(whole);
  }
  if (!path_.empty()) question.path = path_;
  if (body_) {
    question.body = *body_;
    question.method = "POST";
  }
  if (!method_.empty()) {
    question.method = method_;
    if (!body_ && !takes_made_up_body(method_)) question.body.clear();
  }
  question.fields.insert(question.fields.end(), fields_.begin(), fields_.end());
  return question;
}

Question GivenQuestion::over_logged(Question question) const {
  if (!whole_ && body_ && question.body.empty()) {
    question.fields.insert(question.fields.end(), fields_.begin(), fields_.end());
    return question;
  }
  Question changed = over(question);
  // The log tells the method.
  if (!whole_ && method_.empty()) changed.method = std::move(question.method);
  return changed;
}

std::string describe(const Question& question) {
  const std::string body = question.body.empty()
                               ? std::string("without a body")
                               : fmt::format("with a body of {} bytes", question.body.size());
  // A query may hold a key.
  return conf::printable(fmt::format("{} {} {}", question.method,
                                     question.path.substr(0, question.path.find('?')), body));
}

}  // namespace classgate::planning
