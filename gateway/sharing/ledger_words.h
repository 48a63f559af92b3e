#pragma once

#include <optional>
#include <string>
#include <vector>

#include "admission/sharing/report.h"
#include "gateway/sharing/board.h"
#include "gateway/sharing/redis_reply.h"

namespace classgate::gateway {

// What ledger.lua reads and answers, in the words of Redis.

// The arguments of "settle" behind those of every verb. `shows`: the answer is to show all
// gateways.
void add_words(const sharing::Report& report, bool shows, std::vector<std::string>& words);
// None: it is no answer of the script.
std::optional<sharing::Share> share_in(const RedisReply& reply);
// What it shows of all gateways, if it does.
void take_shown(const RedisReply& reply, SharingHealth& health);

}  // namespace classgate::gateway
