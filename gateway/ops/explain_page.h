#pragma once

#include <string>
#include <string_view>

namespace classgate::gateway {

// What explain() says (JSON), for a terminal. Throws nlohmann::json::exception when it is none.
std::string explain_page(std::string_view explanation_json);

}  // namespace classgate::gateway
