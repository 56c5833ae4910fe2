"""Look at runs."""

from reports.page import main

if __name__ == "__main__":
    main()
