// Reports readiness, status and the end to the service manager.
//
// Idea: sd_notify waits if the service manager is stopped or its socket is full; so a thread calls sd_notify
// (PatientWriter), no report is lost and no caller waits. Without a service manager there is no thread.
// Threads: every method from any thread. Errors: unwritable reports are dropped; `std::system_error` if no thread can
// be made. Source: sd_notify(3).
#pragma once

#include <optional>
#include <string>

#include "log/patient_writer.h"

namespace tpmspace::log {

class ServiceManager {
 public:
  // Reports go to the service manager named by the environment.
  ServiceManager();
  // Lines in the format of sd_notify.
  void tell(std::string state);

 private:
  std::optional<PatientWriter> voice_;
};

}  // namespace tpmspace::log
