// The service manager, and what it is told: readiness, status, the end.
//
// Idea: it may be stopped, or its socket full, and sd_notify waits for it; a thread says it (PatientWriter), so nothing
// is lost and nobody waits. Without a service manager there is no thread.
// Threads: every method from any thread. Errors: what cannot be told is not; `std::system_error` if there can be no
// thread. Source: sd_notify(3).
#pragma once

#include <optional>
#include <string>

#include "log/patient_writer.h"

namespace tpmspace::log {

class ServiceManager {
 public:
  // Told is the one that the environment names.
  ServiceManager();
  // Lines as sd_notify takes them.
  void tell(std::string state);

 private:
  std::optional<PatientWriter> voice_;
};

}  // namespace tpmspace::log
