"""Tables of publications done again: by the publication's protocol, and beside it by one that a reviewer would accept.

``reproduce(find_table("lmnet/table1"), "Kvasir-SEG", "reproduced")`` trains and measures what the table lists and
writes a page with the publication's figures, ours, and why they may differ.
"""

from glocal.reproduction.papers import TABLES, find_table
from glocal.reproduction.running import Reproduction, reproduce
from glocal.reproduction.table import Column, PaperTable, Protocol, Row

__all__ = ["TABLES", "Column", "PaperTable", "Protocol", "Reproduction", "Row", "find_table", "reproduce"]
