#pragma once

#include <string>
#include <string_view>

#include "gateway/exchange_record.h"
#include "gateway/refusal_rollup.h"

namespace classgate::gateway {

// Appends one line of the access log, newline included: key=value pairs, or a JSON object with the
// same keys. `time`: when the exchange ended. What a client may have written is quoted and escaped:
// a line is a line, whatever it holds. The keys and their order are a contract (classgate.8): new
// ones come behind the others.
void append_access_line(std::string& out, bool as_json, std::string_view time,
                        const ExchangeRecord& record);

// One that stands for many refusals, whose client, reason, credentials and route are the same: as
// many as `rolled_up` says, from `since` to `time`.
void append_rolled_up_line(std::string& out, bool as_json, std::string_view since,
                           std::string_view time, const RefusalRollup::Line& rolled_up);

}  // namespace classgate::gateway
