#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

#include "admission/memo.h"
#include "gateway/ops/pattern_text.h"
#include "gateway/server.h"

namespace classgate::gateway {

// What the old process of an upgrade has learnt, as the text that the new one reads: JSON, with a
// version. The main thread.
//
// Neither of the two need know of it, and the other may be of another version, so the new one
// judges it as it does a stranger's: any mistake, and it takes nothing and begins as if there had
// been none. Clients go by their ids, which are keyed hashes, and the new one takes them up only if
// it makes ids with the same key; what the shadow has counted only if its conf says the same.
inline constexpr std::size_t memo_bytes_max = std::size_t{4} << 20;
inline constexpr std::uint64_t memo_version = 1;

// `ids_of`: something that is equal for equal keys of clients' ids, and says no more of them.
struct SignedMemo {
  admission::Memo memo;
  std::uint64_t ids_of = 0;
};
std::string memo_text(const SignedMemo& memo);
// Equal for servers whose clients have the same ids.
std::uint64_t sign_of_ids(const Server& server);
// The error says in a line what is wrong.
std::expected<SignedMemo, std::string> read_memo(std::string_view text, admission::Time now);

// All that the server has learnt: the memo, which is one line, and behind it what is usual for
// clients (ops/pattern_text.h), if anything is. The error: it is more than the other one would
// read.
inline constexpr std::size_t learnt_bytes_max = memo_bytes_max + 1 + pattern_bytes_max;
std::expected<std::string, std::string> memo_of(const Server& server);
// Before it starts. Says in a line what was taken.
std::expected<std::string, std::string> take_up_memo(Server& server, std::string_view text);

}  // namespace classgate::gateway
