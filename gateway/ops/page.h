#pragma once

#include "gateway/ops/operator_server.h"

namespace classgate::gateway {

// The operators' page: one file, written as gateway/ops/pages/ and put together when it is built.
// It may do what its Content-Security-Policy says and no more: run the script and the style that it
// was built with, known by their hashes, and ask the server that it came from. The main thread.
OperatorServer::Reply the_page();

}  // namespace classgate::gateway
