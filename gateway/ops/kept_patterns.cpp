#include "gateway/ops/kept_patterns.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "conf/format.h"
#include "gateway/clients/pseudonym.h"
#include "gateway/history/usage_history.h"
#include "gateway/ops/pattern_text.h"
#include "gateway/ops/whole_file.h"

namespace classgate::gateway {

KeptPatterns::KeptPatterns(proxy::net::Loop& loop, Server& server)
    : server_(server),
      path_(state_folder_of(server.settings()) + "/patterns"),
      timer_(loop, [this] { tick(); }),
      errand_(loop, [this](const Outcome& outcome) { on_outcome(outcome); }) {}

KeptPatterns::~KeptPatterns() {
  using namespace std::chrono_literals;
  constexpr auto patience = 2s;
  const auto until = std::chrono::steady_clock::now() + patience;
  while (*is_writing_ && std::chrono::steady_clock::now() < until) std::this_thread::sleep_for(2ms);
  if (!is_on_ || *is_writing_) return;
  try {
    const std::string text = patterns_of(server_);
    if (!text.empty()) on_outcome(write_text(path_, text));
  } catch (const std::exception& failure) {  // memory has run out
    spdlog::error("patterns: {}", failure.what());
  }
}

bool KeptPatterns::is_wanted() const { return server_.settings().admission.fairness.pattern.is_on; }

void KeptPatterns::begin() {
  if (!is_wanted() || is_on_) {
    is_on_ = is_on_ && is_wanted();
    if (!is_on_) timer_.stop();
    return;
  }
  if (!server_.in_force().ids_last) {
    spdlog::warn(
        "patterns: what is usual for clients is not kept over a restart: nor are their ids "
        "(clients.secret)");
    return;
  }
  is_on_ = true;
  until_next_ = between_writes;
  timer_.start(until_next_);
  if (server_.snapshot().patterns.clients > 0) return;
  const auto text = read_whole_file(path_, pattern_bytes_max);
  if (!text) {
    spdlog::warn("patterns: {}: {}; what is usual for clients is learnt anew", path_, text.error());
  } else if (*text) {
    if (const auto taken = take_up_patterns(server_, **text))
      spdlog::info("patterns: what is usual for {} clients is taken from {}", *taken, path_);
    else
      spdlog::warn("patterns: {}: {}; what is usual for clients is learnt anew, and the file {}",
                   path_, taken.error(), set_file_aside(path_));
  }
}

void KeptPatterns::hand_on() {
  is_on_ = false;
  timer_.stop();
}

void KeptPatterns::forget(const std::string& client) {
  const auto half = half_in(client);
  if (half && server_.forget_patterns(*half) > 0 && is_on_) write();
}

// ---- Writing -----------------------------------------------------------------------------------

void KeptPatterns::tick() {
  timer_.start(until_next_);
  const auto now = std::chrono::steady_clock::now();
  const auto seen = server_.shared().gate.patterns_seen(now);
  if (seen != seen_) write();
  seen_ = seen;
}

void KeptPatterns::write() {
  if (errand_.is_under_way()) {
    writes_again_ = true;
    return;
  }
  writes_again_ = false;
  std::string text = patterns_of(server_);
  if (text.empty()) return;
  until_next_ = std::max(between_writes, std::chrono::minutes(text.size() >> 20));
  *is_writing_ = true;
  const bool has_begun =
      errand_.begin([path = path_, text = std::move(text), is_writing = is_writing_] {
        Outcome outcome = write_text(path, text);
        *is_writing = false;
        return outcome;
      });
  if (!has_begun) *is_writing_ = false;
}

KeptPatterns::Outcome KeptPatterns::write_text(const std::string& path, const std::string& text) {
  if (const auto written = write_whole_file(path, text); !written)
    return {fmt::format("patterns: {}: {}; what is usual for clients is not kept over a restart",
                        path, written.error())};
  return {};
}

void KeptPatterns::on_outcome(const Outcome& outcome) {
  if (!outcome.problem.empty() && outcome.problem != problem_) spdlog::warn("{}", outcome.problem);
  problem_ = outcome.problem;
  if (writes_again_) write();
}

}  // namespace classgate::gateway
