#include "gateway/ops/table_watch.h"

#include <spdlog/spdlog.h>

#include <utility>

namespace classgate::gateway {

void TableWatch::look() {
  begin();
  const admission::ClientTable::Counts clients = server_.shared().gate.client_counts();
  tell(told_of_known_,
       clients.not_remembered > clients.network_not_remembered + clients.unknown_not_remembered,
       "fairness.clients_max: no place is left: clients that find none share one client's rights "
       "(classgate_clients_not_remembered_total, part known)");
  tell(told_of_networks_, clients.network_not_remembered > 0,
       "fairness.clients_max: no place is left for more hosts of plans' networks: those that find "
       "none share one client's rights; clients with keys keep theirs "
       "(classgate_clients_not_remembered_total, part network)");
  tell(told_of_unknown_, clients.unknown_not_remembered > 0,
       "clients.unknown_max: no place is left for more unknown clients: those that find none share "
       "one client's rights; known clients keep theirs (classgate_clients_not_remembered_total, "
       "part unknown)");
  const auto& quotas = server_.policy().quotas;
  tell(told_of_quotas_, quotas && quotas->table().not_remembered() > 0,
       "clients.quota_clients_max: no place is left for more hosts of plans' networks: until the "
       "month is over those that come now share the quota of one client of their plan; named "
       "clients keep theirs (classgate_quota_not_remembered_total)");
}

void TableWatch::tell(bool& was_told, bool is_so, std::string_view text) {
  if (is_so && !std::exchange(was_told, true)) spdlog::warn("{}", text);
}

}  // namespace classgate::gateway
