#pragma once

#include <cstddef>
#include <ctime>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/net/gather.h"
#include "proxy/wire/http2_fields.h"
#include "proxy/wire/message.h"
#include "proxy/wire/parser.h"

namespace classgate::gateway {

// What all that lives on one loop uses in turn, so that a request asks for no memory of its own. On
// the loop.
class Spares {
 public:
  Spares();

  proxy::net::Gather& gather() { return gather_; }
  // For a head with other fields, until it has been said; its memory is kept.
  proxy::wire::Head& head() { return head_; }
  // Likewise, as HTTP/2 sends it.
  proxy::wire::Http2Fields& fields() { return fields_; }
  std::unique_ptr<proxy::wire::Parser> take_parser();
  void return_parser(std::unique_ptr<proxy::wire::Parser> parser);
  // IMF-fixdate (RFC 9110 section 5.6.7), for the Date field; of now.
  std::string_view date_text();

 private:
  proxy::net::Gather gather_;
  proxy::wire::Head head_;
  proxy::wire::Http2Fields fields_;
  std::vector<std::unique_ptr<proxy::wire::Parser>> parsers_;
  std::string date_text_;
  std::time_t date_text_of_ = 0;
};

}  // namespace classgate::gateway
