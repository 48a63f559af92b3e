#pragma once

#include "conf/reading.h"

namespace classgate::conf {

// The part of put_together() (conf/together.h) that is about clients: who they are told by, which
// of them are known, their plans and quotas.
void put_clients_together(Reading& reading);

}  // namespace classgate::conf
