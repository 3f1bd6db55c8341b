"""
The user configuration file, from its text to the settings of each cloud.

:mod:`.options` is the table of options: to add one, add a row there.
:mod:`.file` reads a file, :mod:`.ini` its syntax, :mod:`.instance_types` the machine sizes in it.
:mod:`.location` turns a section, with what :mod:`.environment` adds, into :mod:`.settings`;
:mod:`.endpoints` completes the addresses of services. :mod:`.reference` writes the reference file
and the list of options in the documentation.
"""
