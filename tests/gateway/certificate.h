#pragma once

#include "conf/settings.h"

namespace classgate::gateway::test {

// A certificate of this run, signed by itself, and its key: for a name, in files made by
// openssl(1).
const conf::CertificateSettings& some_certificate();

}  // namespace classgate::gateway::test
