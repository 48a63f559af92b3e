#pragma once

#include <string_view>

namespace classgate::gateway {

// gateway/ops/pages/: HTML with its style and script in it.
extern const std::string_view page_text;

}  // namespace classgate::gateway
