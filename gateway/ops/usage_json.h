#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>

#include "admission/history/usage_row.h"
#include "gateway/history/usage_history.h"
#include "gateway/history/usage_query.h"
#include "gateway/ops/operator_server.h"
#include "gateway/ops/query.h"
#include "gateway/policy.h"

namespace classgate::gateway {

// What /api/v1/usage, series and sessions are asked, and what the history answers, as
// packaging/openapi.json says. What makes an answer is called on the history's thread, and may wait
// for a disk.

// ?by=client&since=SECONDS&top=20&order=requests
struct UsageAsked {
  static constexpr std::size_t top_max = 1000;
  UsageBy by = UsageBy::client;
  std::int64_t seconds = 86'400;  // back from now
  std::size_t top = 20;
  UsageOrder order = UsageOrder::requests;
  // The error: what is wrong with it.
  static std::expected<UsageAsked, std::string> read(const std::optional<Query>& query);
};
OperatorServer::Reply usage_reply(const UsageAsked& asked, const UsageHistory::Books& books,
                                  const Rules& rules);

// ?by=route&key=/v1/classify&since=SECONDS&points=240; ?client=c_4f7a91c2
struct SeriesAsked {
  static constexpr std::int64_t points_max = 2000;
  history::UsageKind kind = history::UsageKind::all;
  std::string key;
  std::int64_t seconds = 3600;  // back from now
  std::int64_t points = 240;    // at most
  static std::expected<SeriesAsked, std::string> read(const std::optional<Query>& query);
};
OperatorServer::Reply series_reply(const SeriesAsked& asked, const UsageHistory::Books& books);

// What is known of a client, by its id as it is printed, is deleted. For the control socket: text.
OperatorServer::Reply forget_reply(const std::string& client, const UsageHistory::Books& books);

OperatorServer::Reply sessions_reply(const UsageHistory::Books& books, const Rules& rules);

}  // namespace classgate::gateway
