# Run by `cmake --install`: puts the systemd units under the prefix of this installation, with the daemon's path in it.
# TPMSPACE_BINDIR: where programs go, absolute or below the prefix. TPMSPACE_UNITS: the directory of the units.
# TPMSPACE_MADE: a directory for the unit that is made. CMAKE_INSTALL_PREFIX is empty for /; DESTDIR is file(INSTALL)'s.
set(prefix "${CMAKE_INSTALL_PREFIX}")
if(prefix)
  get_filename_component(prefix "${prefix}" ABSOLUTE)
endif()
set(bindir "${TPMSPACE_BINDIR}")
if(NOT IS_ABSOLUTE "${bindir}")
  set(bindir "${prefix}/${bindir}")
endif()
file(READ "${TPMSPACE_UNITS}/tpmspaced.service" unit)
string(REPLACE "/usr/bin/" "${bindir}/" unit "${unit}")
# Two installations at a time must not share the file.
string(RANDOM LENGTH 16 name)
file(WRITE "${TPMSPACE_MADE}/${name}/tpmspaced.service" "${unit}")
file(INSTALL "${TPMSPACE_MADE}/${name}/tpmspaced.service" "${TPMSPACE_UNITS}/tpmspaced.socket"
  DESTINATION "${prefix}/lib/systemd/system")
file(REMOVE_RECURSE "${TPMSPACE_MADE}/${name}")
