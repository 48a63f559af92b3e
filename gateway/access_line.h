#pragma once

#include <string>
#include <string_view>

#include "gateway/exchange_record.h"

namespace classgate::gateway {

// Appends one line of the access log, newline included: key=value pairs, or a JSON object with the
// same keys. `time`: when the exchange ended. What a client may have written is quoted and escaped:
// a line is a line, whatever it holds.
void append_access_line(std::string& out, bool as_json, std::string_view time,
                        const ExchangeRecord& record);

}  // namespace classgate::gateway
