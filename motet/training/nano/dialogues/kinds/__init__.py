"""The kinds of dialogue about several turns or several media: each module has one."""
