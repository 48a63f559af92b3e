#pragma once

#include "gateway/ops/metric_families.h"
#include "gateway/policy.h"

namespace classgate::gateway {

// When the certificates end that are shown to clients: a series for each, by its file; none
// without TLS. Certificates are read at a start and a reload, and so are these times.
void add_certificates(MetricFamilies& out, const Policy& policy);

}  // namespace classgate::gateway
