#include "gateway/ops/certificate_metrics.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "proxy/net/tls_context.h"

namespace classgate::gateway {

void add_certificates(MetricFamilies& out, const Policy& policy) {
  if (!policy.tls.clients) return;
  const std::vector<conf::CertificateSettings>& pairs = policy.rules->settings.tls.certificates;
  const std::vector<std::int64_t> ends = policy.tls.clients->ends();
  out.gauge("classgate_tls_certificate_end_timestamp_seconds",
            "When a certificate for clients ends, or the first of its chain.");
  for (std::size_t i = 0; i < std::min(pairs.size(), ends.size()); ++i)
    out.value(ends[i], {{"certificate", pairs[i].certificate}});
}

}  // namespace classgate::gateway
