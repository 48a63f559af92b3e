#include "gateway/access_line.h"

#include <algorithm>
#include <chrono>

#include "admission/measure/units.h"
#include "conf/format.h"
#include "gateway/quoted.h"

namespace classgate::gateway {
namespace {

// To the microsecond, in whole numbers: as floating point they are most of what a line costs.
void append_milliseconds(std::string& out, admission::Duration value) {
  const std::int64_t us = measure::in_rounded_us(value);
  if (us < 0) out += '-';
  const auto size = static_cast<std::uint64_t>(us < 0 ? -us : us);
  const fmt::format_int whole(size / 1000);
  out.append(whole.data(), whole.size());
  const auto rest = static_cast<unsigned>(size % 1000);
  out += '.';
  out += static_cast<char>('0' + rest / 100);
  out += static_cast<char>('0' + rest / 10 % 10);
  out += static_cast<char>('0' + rest % 10);
}

class LineWriter {
 public:
  LineWriter(std::string& out, bool as_json) : out_(out), as_json_(as_json) {
    if (as_json_) out_ += '{';
  }
  void word(std::string_view key, std::string_view value) {  // our own: needs no quotes
    begin(key);
    if (as_json_) out_ += '"';
    out_ += value;
    if (as_json_) out_ += '"';
  }
  // Nearly always a word; the path of a socket may be anything.
  void word_or_text(std::string_view key, std::string_view value) {
    const bool is_word = std::ranges::all_of(
        value, [](char c) { return c > ' ' && c < 0x7f && c != '"' && c != '\\'; });
    is_word ? word(key, value) : text(key, value);
  }
  void text(std::string_view key, std::string_view value) {
    begin(key);
    append_quoted(out_, value);
  }
  template <typename Number>
  void number(std::string_view key, Number value) {
    begin(key);
    const fmt::format_int digits(value);
    out_.append(digits.data(), digits.size());
  }
  void milliseconds(std::string_view key, admission::Duration value) {
    begin(key);
    append_milliseconds(out_, value);
  }
  void attempts(std::string_view key, std::span<const admission::Time> began, admission::Time end) {
    if (began.empty()) return word(key, "-");
    begin(key);
    if (as_json_) out_ += '"';
    for (std::size_t i = 0; i < began.size(); ++i) {
      if (i > 0) out_ += ',';
      append_milliseconds(out_, (i + 1 < began.size() ? began[i + 1] : end) - began[i]);
    }
    if (as_json_) out_ += '"';
  }
  void reason(std::string_view key, std::optional<conf::Reason> value) {
    word(key, value ? conf::word_of(*value) : "-");
  }
  void end() { out_ += as_json_ ? "}\n" : "\n"; }

 private:
  void begin(std::string_view key) {
    if (!first_) out_ += as_json_ ? ',' : ' ';
    first_ = false;
    if (as_json_) out_ += '"';
    out_ += key;
    out_ += as_json_ ? "\":" : "=";
  }
  std::string& out_;
  bool as_json_;
  bool first_ = true;
};

}  // namespace

void append_access_line(std::string& out, bool as_json, std::string_view time,
                        const ExchangeRecord& record) {
  LineWriter line(out, as_json);
  line.word("time", time);
  line.word("id", record.request_id);
  line.word("client", record.client);
  line.word("method", record.method);
  line.text("path", record.path);
  line.text("route", record.route);
  line.number("priority", record.priority);
  line.word("verdict", word_of(record.verdict));
  line.reason("reason", record.reason);
  line.reason("observed", record.observed);
  line.number("cost", record.cost);
  line.milliseconds("deadline_ms", record.deadline);
  line.milliseconds("upload_ms", record.uploading);
  line.milliseconds("wait_ms", record.waiting);
  line.milliseconds("upstream_ms", record.at_upstream);
  line.milliseconds("total_ms", record.total);
  line.number("status", record.status);
  line.number("bytes_in", record.bytes_in);
  line.number("bytes_out", record.bytes_out);
  line.word_or_text("upstream", record.upstream);
  line.number("retries", record.retries);
  line.word("tls", record.tls);
  line.word("answered_by", record.answered_by());
  line.attempts("attempts_ms", record.attempts, record.attempts_end);
  line.word("address", record.address);
  line.word_or_text("plan", record.plan);
  line.word_or_text("traceparent", record.traceparent.empty() ? "-" : record.traceparent);
  line.text("user_agent", record.user_agent.empty() ? "-" : record.user_agent);
  line.word("name", record.name);
  line.word("credentials", word_of(record.credentials));
  line.word("protocol", record.protocol());
  line.word("upstream_protocol", record.upstream_protocol());
  if (record.grpc_status == ExchangeFacts::no_grpc_status)
    line.word("grpc_status", "-");
  else
    line.number("grpc_status", int{record.grpc_status});
  if (record.query) line.text("query", *record.query);
  for (const LoggedField& field : record.headers) line.text(field.key, field.value);
  line.end();
}

void append_rolled_up_line(std::string& out, bool as_json, std::string_view since,
                           std::string_view time, const RefusalRollup::Line& rolled_up) {
  const RefusalRollup::Refusal& first = rolled_up.refusal;
  LineWriter line(out, as_json);
  line.word("time", time);
  line.number("rolled_up", rolled_up.count);
  line.word("since", since);
  line.word("client", first.client);
  line.word("address", first.address);
  line.text("path", first.path);
  line.text("route", first.route != nullptr ? std::string_view(first.route->name) : "-");
  line.number("priority", first.route != nullptr ? first.route->priority : 0);
  line.word("verdict", word_of(Verdict::rejected));
  line.reason("reason", first.reason);
  line.number("status", first.status);
  line.word("name", first.name);
  if (!first.plan.empty()) line.word_or_text("plan", first.plan);
  line.word("credentials", word_of(first.credentials));
  line.end();
}

}  // namespace classgate::gateway
