#pragma once

#include <expected>
#include <string>
#include <vector>

#include "conf/sha256.h"

namespace classgate::gateway {

// By whom ops.listen may be told to change something: the SHA-256 of each token.
using OperatorTokens = std::vector<conf::Sha256>;

// Those of ops.token_file; of an empty path none. The error is one line, which names the key. May
// wait for the disk.
std::expected<OperatorTokens, std::string> read_operator_tokens(const std::string& path);

}  // namespace classgate::gateway
