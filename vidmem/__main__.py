import sys

from vidmem.cli.main import main

sys.exit(main())
