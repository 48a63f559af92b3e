#include "gateway/ops/desk.h"

#include <algorithm>

#include "conf/format.h"

namespace classgate::gateway {

void Desk::answer(const Request& request, const Responder& answer) const {
  const std::string_view method =
      request.method == "HEAD" ? std::string_view("GET") : std::string_view(request.method);
  const Entry* found = nullptr;
  bool is_done = false;  // with this method
  std::string allow;
  for (const Entry& entry : entries_) {
    if (entry.path != request.path || (entry.who == Who::local && !request.is_local)) continue;
    allow += fmt::format("{}{}", allow.empty() ? "" : ", ",
                         entry.method == "GET" ? "GET, HEAD" : entry.method);
    if (is_done) continue;
    found = &entry;
    is_done = entry.method == method;
  }
  if (found == nullptr) return answer({.status = 404, .body = contents(request.is_local)});
  if (guard_)
    if (const auto objection = guard_(request, found->who)) return answer(*objection);
  if (is_done) return found->handler(request, answer);
  const auto last = allow.rfind(", ");
  std::string text = allow;
  if (last != std::string::npos) text.replace(last, 2, " or ");
  answer({.status = 405, .body = text + "\n", .allow = allow});
}

// "GET /a, /b; POST /c".
std::string Desk::contents(bool is_local) const {
  std::string text;
  std::string_view method;
  for (const Entry& entry : entries_) {
    if (entry.who == Who::local && !is_local) continue;
    if (entry.method == method)
      text += fmt::format(", {}", entry.path);
    else
      text += fmt::format("{}{} {}", text.empty() ? "" : "; ", entry.method, entry.path);
    method = entry.method;
  }
  return text + "\n";
}

}  // namespace classgate::gateway
