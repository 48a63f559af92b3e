#include "gateway/ops/usage_metrics.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <string_view>

namespace classgate::gateway {

void add_users(MetricFamilies& out, const UsageHistory::Numbers& users) {
  constexpr std::array<std::string_view, history::Sessions::window_count> windows{
      "10s", "1m", "5m", "15m", "60m", "session"};
  out.gauge("classgate_active_users",
            "Clients of which a request has ended within this time; session: within "
            "history.session_gap.");
  for (std::size_t i = 0; i < windows.size(); ++i)
    out.value(users.active[i], {{"within", std::string(windows[i])}});
  out.gauge("classgate_distinct_users_day",
            "Different clients in the last 23 to 24 hours, since the start at most; within 3 %.")
      .value(std::round(users.distinct_day));
  out.counter("classgate_sessions_begun_total",
              "Sessions that began: of clients that are new, or that had one before.")
      .value(users.newcomers, {{"client", "new"}})
      .value(users.returning, {{"client", "returning"}});
  out.counter("classgate_sessions_ended_total",
              "Sessions that ended: by silence, or because their client gave way "
              "(history.clients_max).")
      .value(users.ended - std::min(users.gave_way, users.ended), {{"by", "silence"}})
      .value(users.gave_way, {{"by", "clients_max"}});
  out.counter("classgate_history_requests_total", "Requests that the history has counted.")
      .value(users.requests);
  out.counter("classgate_history_unnamed_total",
              "Of these, counted in sums only, because the history's thread did not come to them.")
      .value(users.unnamed);
  out.gauge("classgate_history_on_disk", "0 while the history is in memory only, or not begun.")
      .value(users.is_on_disk ? 1 : 0);
  out.gauge("classgate_history_bytes", "Size of the history's database.").value(users.bytes);
  out.gauge("classgate_history_rows_waiting", "Rows that wait for a file that cannot be written.")
      .value(users.rows_waiting);
  out.counter("classgate_history_rows_lost_total",
              "Rows that found no room while the file could not be written.")
      .value(users.rows_lost);
}

}  // namespace classgate::gateway
