"""Where encoding runs. An engine asks a store what is pending, has it encoded, and hands the rows back; it owns no
format.
"""
