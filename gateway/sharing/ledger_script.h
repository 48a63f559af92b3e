#pragma once

#include <string_view>

namespace classgate::gateway {

// gateway/sharing/ledger.lua, as Redis gets it by SCRIPT LOAD.
extern const std::string_view ledger_script;

}  // namespace classgate::gateway
