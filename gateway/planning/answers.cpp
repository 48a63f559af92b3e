#include "gateway/planning/answers.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <numeric>
#include <string_view>

#include "conf/format.h"

namespace classgate::planning {
namespace {

std::uint64_t total_of(const std::map<int, std::uint64_t>& counts) {
  return std::accumulate(counts.begin(), counts.end(), std::uint64_t{0},
                         [](std::uint64_t sum, const auto& count) { return sum + count.second; });
}

std::string name_of_fault(int fault) {
  switch (fault) {
    case Answers::closed: return "connection closed";
    case Answers::not_http: return "answer is no HTTP";
    case Answers::too_late: return "no answer in time";
    case Answers::broken_http2: return "answer breaks HTTP/2";
    case Answers::only_http1: return "answer is HTTP/1";
    case Answers::refused: return "request refused";
    case Answers::reset: return "request reset";
    default: return std::strerror(fault);
  }
}

std::string so_many(int fault, std::uint64_t count) {
  switch (fault) {
    case Answers::closed: return fmt::format("{} connections closed unanswered", grouped(count));
    case Answers::not_http: return fmt::format("{} answers that are no HTTP", grouped(count));
    case Answers::too_late:
      return fmt::format("{} requests without an answer in time", grouped(count));
    case Answers::broken_http2: return fmt::format("{} answers that break HTTP/2", grouped(count));
    case Answers::only_http1:
      return fmt::format("{} answers of HTTP/1: it does not speak HTTP/2", grouped(count));
    case Answers::refused:
      return fmt::format("{} requests refused (REFUSED_STREAM or GOAWAY)", grouped(count));
    case Answers::reset: return fmt::format("{} requests reset (RST_STREAM)", grouped(count));
    case ECONNREFUSED: return fmt::format("{} connections refused", grouped(count));
    default: return fmt::format("{} times \"{}\"", grouped(count), std::strerror(fault));
  }
}

std::string_view advice_for(int status) {
  if (status >= 300 && status < 400) return "it sends elsewhere: name the address that serves";
  switch (status) {
    case 401:
    case 403: return "it asks who is asking: give it the key that it wants";
    case 404: return "it does not know this path: name one that it serves";
    case 405: return "it does not take this method there";
    case 429: return "it, or what is in front of it, limits its clients: measure behind that limit";
    case 503: return "it, or what is in front of it, is not ready or refuses: see why first";
    default:
      return status < 500 ? "it does not take this request: give it one that it takes"
                          : "it fails: see its log";
  }
}

// https://grpc.github.io/grpc/core/md_doc_statuscodes.html
std::string name_of_call_status(int code) {
  constexpr std::array<std::string_view, 17> names{"OK",
                                                   "CANCELLED",
                                                   "UNKNOWN",
                                                   "INVALID_ARGUMENT",
                                                   "DEADLINE_EXCEEDED",
                                                   "NOT_FOUND",
                                                   "ALREADY_EXISTS",
                                                   "PERMISSION_DENIED",
                                                   "RESOURCE_EXHAUSTED",
                                                   "FAILED_PRECONDITION",
                                                   "ABORTED",
                                                   "OUT_OF_RANGE",
                                                   "UNIMPLEMENTED",
                                                   "INTERNAL",
                                                   "UNAVAILABLE",
                                                   "DATA_LOSS",
                                                   "UNAUTHENTICATED"};
  const bool is_known = code >= 0 && static_cast<std::size_t>(code) < names.size();
  return is_known ? std::string(names[static_cast<std::size_t>(code)]) : "no grpc-status";
}

}  // namespace

void Answers::add(const Answers& more) {
  for (const auto& [status, count] : more.statuses) statuses[status] += count;
  for (const auto& [fault, count] : more.faults) faults[fault] += count;
  for (const auto& [code, count] : more.calls) calls[code] += count;
}

std::uint64_t Answers::served() const {
  if (calls.empty()) return of_class(2);
  const auto good = calls.find(0);
  return good != calls.end() ? good->second : 0;
}

std::uint64_t Answers::all() const { return total_of(statuses); }
std::uint64_t Answers::all_faults() const { return total_of(faults); }

std::uint64_t Answers::of_class(int hundreds) const {
  std::uint64_t sum = 0;
  for (const auto& [status, count] : statuses)
    if (status / 100 == hundreds) sum += count;
  return sum;
}

double Answers::served_share() const {
  const std::uint64_t asked = all() + all_faults();
  return asked == 0 ? 0 : static_cast<double>(served()) / static_cast<double>(asked);
}

std::string Answers::by_class() const {
  std::string text;
  for (const auto& [code, count] : calls)
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name_of_call_status(code), count);
  for (int hundreds = 2; hundreds <= 5 && calls.empty(); ++hundreds)
    text += fmt::format("{}{}xx {}", hundreds > 2 ? ", " : "", hundreds, of_class(hundreds));
  for (const auto& [fault, count] : faults)
    text += fmt::format("; {}: {}", name_of_fault(fault), count);
  return text;
}

std::string Answers::why_not_served() const {
  if (all() == 0) {
    if (faults.empty()) return "nothing answered: no answer came in time";
    std::string text;
    for (const auto& [fault, count] : faults)
      text +=
          fmt::format("{}{}", text.empty() ? "nothing answered: " : ", ", so_many(fault, count));
    return text;
  }
  if (!calls.empty() && served() == 0) return "no call succeeded: " + by_class();
  int most = 0;
  std::uint64_t most_count = 0;
  for (const auto& [status, count] : statuses)
    if (status / 100 != 2 && count > most_count) {
      most = status;
      most_count = count;
    }
  if (most_count == 0) return fmt::format("too few were answered: {}", by_class());
  if (most_count == all())
    return fmt::format("all {} answers were {}: {}", grouped(all()), most, advice_for(most));
  return fmt::format("{} of {} answers were {}: {}", grouped(most_count), grouped(all()), most,
                     advice_for(most));
}

std::string grouped(std::uint64_t number) {
  if (number < 1000) return fmt::format("{}", number);
  return fmt::format("{},{:03}", grouped(number / 1000), number % 1000);
}

}  // namespace classgate::planning
