#include "gateway/ops/desk.h"

#include <algorithm>

#include "conf/format.h"

namespace classgate::gateway {

void Desk::answer(const Request& request, const Responder& answer) const {
  const auto entry = std::ranges::find_if(entries_, [&](const Entry& each) {
    return each.path == request.path && (each.who == Who::anybody || request.is_local);
  });
  if (entry == entries_.end()) return answer({.status = 404, .body = contents(request.is_local)});
  const bool is_page = entry->method == "GET";
  if (is_page ? request.method == "GET" || request.method == "HEAD" : request.method == "POST")
    return entry->handler(request, answer);
  if (is_page) return answer({.status = 405, .body = "GET or HEAD\n", .allow = "GET, HEAD"});
  answer({.status = 405, .body = "POST\n", .allow = "POST"});
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
